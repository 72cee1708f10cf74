// When a number should not be trusted as it stands, in words.
#pragma once

#include <string>
#include <vector>

#include "ferry/measure.h"

namespace ferry {

/// Bits of Telemetry::throttle_reasons in words, without the harmless ones (idle, clocks set by the user).
std::vector<std::string> throttle_names(std::uint64_t reasons);

/// What a reader must know about a measurement before believing it. Pure.
std::vector<std::string> measurement_warnings(const Measurement& measurement);

}  // namespace ferry
