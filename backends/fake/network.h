// The network that the fake engine runs: shapes and types from any ONNX file, and a linear function in its place.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace ferry::fake {

struct Port {
  std::string name;
  std::vector<std::int64_t> shape;  // [-1, ...]

  std::int64_t elements_per_image() const;
};

struct Network {
  std::uint64_t onnx_hash = 0;  // FNV-1a: two models are told apart by it
  Port input, output;
  std::map<std::string, int> layers_by_type;  // weighted layers: "Float", "Half", "Int8"

  /// Throws Failure unless there are one float32 input and one float32 output whose sizes are known but for the batch.
  static Network from_onnx(std::string_view onnx);
  static Network from_json(const nlohmann::json& json);
  nlohmann::json to_json() const;

  /// For each image, output k is a weighted mean of the inputs whose index is k modulo the number of outputs.
  void run(std::int64_t batch, const float* input, float* output) const;
};

}  // namespace ferry::fake
