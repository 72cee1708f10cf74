// When a number should not be trusted as it stands, in words.
#pragma once

#include <string>
#include <vector>

#include "ferry/measure.h"

namespace ferry {

/// What a reader must know about a measurement before believing it. Pure.
std::vector<std::string> measurement_warnings(const Measurement& measurement);

}  // namespace ferry
