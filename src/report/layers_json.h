// The section `layers` of a result: docs/file-formats.md.
#pragma once

#include <nlohmann/json.hpp>

#include "ferry/layers.h"

namespace ferry {

/// JSON has no NaN and no Inf: both become null.
nlohmann::ordered_json number_or_null(double value);

nlohmann::ordered_json layers_json(const LayerProfile& profile);
/// The inverse; throws nlohmann::json::exception.
LayerProfile layers_from_json(const nlohmann::ordered_json& json);

}  // namespace ferry
