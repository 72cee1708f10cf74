// Reading the engine inspector's JSON: what layers.cc and proof.cc share.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace ferry::nvinfer {

/// The text under `key`; empty where there is none.
inline std::string text_at(const nlohmann::json& layer, const char* key) {
  const auto found = layer.find(key);
  return found != layer.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// The weights' element count: of a convolution "Weights": {"Type": "Half", "Count": 9408}. 0 without weights.
inline double weight_count(const nlohmann::json& layer) {
  const auto weights = layer.find("Weights");
  if (weights == layer.end() || !weights->is_object()) return 0;
  const auto count = weights->find("Count");
  return count != weights->end() && count->is_number() ? count->get<double>() : 0;
}

}  // namespace ferry::nvinfer
