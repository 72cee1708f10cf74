// The parts of an ONNX model that this engine looks at, read from its bytes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ferry::latency {

/// ONNX's TensorProto.DataType
inline constexpr int kFloat = 1, kInt8 = 3, kFloat16 = 10;

struct Weight {
  std::string name;
  int dtype = 0;
  std::vector<std::int64_t> dims;
  std::string_view raw;  // little-endian, row-major; within the model's bytes
};

struct Attribute {
  std::int64_t i = 0;
  float f = 0;
  std::string s;
  std::vector<std::int64_t> ints;
};

struct Node {
  std::string name, op;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, Attribute> attributes;

  /// "node 'layer1.0.conv1' (Conv)": how messages name it.
  std::string label() const;
};

struct GraphPort {
  std::string name;
  int dtype = 0;
  std::vector<std::int64_t> dims;  // -1: not fixed
};

struct OnnxGraph {
  std::vector<Node> nodes;
  std::map<std::string, Weight> weights;
  std::vector<GraphPort> inputs, outputs;  // inputs without those that have a weight
};

/// `model` must outlive the result. Throws nvinfer::Failure.
OnnxGraph read_onnx(std::string_view model);

}  // namespace ferry::latency
