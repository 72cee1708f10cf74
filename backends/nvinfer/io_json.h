// What an opened engine is, as JSON (see `io` in backend_abi.h).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nvinfer/gpu_engine.h"

namespace ferry::nvinfer {

nlohmann::json device_json(const cuda::DeviceInfo& device);
nlohmann::json profiles_json(const std::vector<Profile>& profiles);
std::string io_json(const GpuEngine& engine);

/// Peaks of the card: `peaks` as backend_abi.h has it under `profile`.
nlohmann::json peaks_json(int device_index);

}  // namespace ferry::nvinfer
