// A profile: the times that the SDK reports for each layer, joined with what the engine inspector says of it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace ferry::nvinfer {

struct LayerSample {
  std::string name;
  double ms = 0;  // median over the runs
};

/// Medians by position; every run reports the same layers in the same order (a run that does not is left out).
std::vector<LayerSample> medians(const std::vector<std::vector<LayerSample>>& runs);

/// {"layers":[...]} as backend_abi.h has it under `profile`. `batch` stands for dimensions that the inspector calls -1;
/// `profile` is the one that ran: each has layers, and kernels, of its own.
nlohmann::json join_layers(const std::string& inspector_json, const std::vector<LayerSample>& samples,
                           std::int64_t batch, int profile = 0);

}  // namespace ferry::nvinfer
