// Writes the nodes of a graph in the order of execution. Each method returns the name of the value that it makes, which
// is the name of the node, so that a network reads as nested calls.
#pragma once

#include <onnx/onnx_pb.h>

#include <string>
#include <vector>

#include "ferry/tensor.h"

namespace ferry {

class GraphWriter {
 public:
  explicit GraphWriter(onnx::GraphProto& graph) : graph_(graph) {}

  struct Window {
    std::int64_t kernel = 1, stride = 1, padding = 0;
  };

  std::string input(const std::string& name, const Shape& shape);  // float32; -1 is the batch, called N
  void output(const std::string& name, const Shape& shape);
  std::string weight(const std::string& name, const TensorView& data);

  std::string conv(const std::string& name, const std::string& x, const std::string& weight, Window window,
                   std::int64_t groups);
  /// `module` has weights `module.weight`, `.bias`, `.running_mean` and `.running_var`.
  std::string batch_norm(const std::string& module, const std::string& x, float epsilon);
  std::string relu(const std::string& name, const std::string& x);
  std::string add(const std::string& name, const std::string& a, const std::string& b);
  std::string max_pool(const std::string& name, const std::string& x, Window window);
  std::string global_average_pool(const std::string& name, const std::string& x);
  std::string flatten(const std::string& name, const std::string& x);
  /// y = x * weight^T + bias; the value gets its own name because it is what the graph returns.
  std::string linear(const std::string& name, const std::string& x, const std::string& weight, const std::string& bias,
                     const std::string& result);

 private:
  onnx::NodeProto& node(const char* op, const std::string& name, const std::vector<std::string>& inputs);
  onnx::GraphProto& graph_;
};

/// Describes a graph input or output.
void set_value(onnx::ValueInfoProto& value, const std::string& name, int onnx_type, const Shape& shape);

}  // namespace ferry
