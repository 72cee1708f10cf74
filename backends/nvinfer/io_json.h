// What an opened engine is, as JSON (see `io` in backend_abi.h).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nvinfer/engine.h"

namespace ferry::nvinfer {

nlohmann::json profiles_json(const std::vector<Profile>& profiles);
std::string io_json(const Engine& engine);

}  // namespace ferry::nvinfer
