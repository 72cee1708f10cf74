// Proof of precision: what an engine's layers with weights really compute in.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace ferry::nvinfer {

struct Proof {
  int layers = 0;                      // with weights: convolutions and matrix products
  std::map<std::string, int> by_type;  // "Half", "Float", "BFloat16", "Int8", "FP8", or the SDK's own word

  void count(const std::string& type) {
    ++layers;
    ++by_type[type];
  }
};

/// From the engine inspector's JSON. A layer counts by the type of its first input, because that is what its products
/// are made of (an INT8 convolution may well write Half). Layers without detail (an engine built by another tool with
/// names only) make an empty proof.
Proof count_layers(const std::string& inspector_json);

/// The type in the SDK's description: "Half", "Row major linear FP16 format", "Thirty-two wide channel vectorized row
/// major Int8 format".
std::string type_in(std::string_view description);

/// {"layers":N,"by_type":{...}}, or "null" for an empty proof.
std::string to_json(const Proof& proof);

}  // namespace ferry::nvinfer
