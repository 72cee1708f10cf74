// Small models for the tests of the ONNX passes.
#pragma once

#include <onnx/onnx_pb.h>

#include <string>
#include <vector>

#include "ferry/onnx.h"
#include "onnx/graph_index.h"
#include "onnx/graph_writer.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"

namespace ferry::test {

/// A narrow network: three stages more than enough to have every kind of block.
inline ResNetArchitecture narrow(ResNetArchitecture::Block block, int groups = 1, int width = 8) {
  ResNetArchitecture network;
  network.block = block;
  network.depths = {1, 2, 1, 1};
  network.planes = {8, 8, 16, 16};
  network.widths = {width, width, 2 * width, 2 * width};
  network.groups = groups;
  network.stem_channels = 8;
  network.num_classes = 10;
  return network;
}

/// An empty model of the given operator set, to be filled.
inline std::unique_ptr<OnnxModel::Impl> empty_model(int opset = 17) {
  auto impl = std::make_unique<OnnxModel::Impl>();
  impl->name = "test";
  impl->proto.set_ir_version(8);
  impl->proto.add_opset_import()->set_version(opset);
  impl->proto.mutable_graph()->set_name("test");
  return impl;
}

inline onnx::NodeProto& add_node(onnx::GraphProto& graph, const std::string& op, const std::string& name,
                                 const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
  onnx::NodeProto& node = *graph.add_node();
  node.set_op_type(op);
  node.set_name(name);
  for (const auto& input : inputs) node.add_input(input);
  for (const auto& output : outputs) node.add_output(output);
  return node;
}

inline void add_floats(onnx::GraphProto& graph, const std::string& name, Shape shape, std::vector<float> values) {
  *graph.add_initializer() =
      make_tensor(name, {DType::kFloat32, std::move(shape), reinterpret_cast<const std::byte*>(values.data())});
}

/// input [N,2,4,4] -> conv 1x1 (3 channels) -> output
inline std::unique_ptr<OnnxModel::Impl> conv_model() {
  auto impl = empty_model();
  onnx::GraphProto& graph = *impl->proto.mutable_graph();
  set_value(*graph.add_input(), "input", onnx::TensorProto::FLOAT, {-1, 2, 4, 4});
  add_floats(graph, "conv.weight", {3, 2, 1, 1}, {1, 2, 3, 4, 5, 6});
  add_node(graph, "Conv", "conv", {"input", "conv.weight"}, {"conv"});
  return impl;
}

inline void add_batch_norm(onnx::GraphProto& graph, const std::string& input, const std::string& output) {
  add_floats(graph, "bn.weight", {3}, {1, 2, -0.5});
  add_floats(graph, "bn.bias", {3}, {0, 1, 2});
  add_floats(graph, "bn.running_mean", {3}, {0.5, 0, -1});
  add_floats(graph, "bn.running_var", {3}, {4, 1, 0.25});
  onnx::NodeProto& norm = add_node(graph, "BatchNormalization", "bn",
                                   {input, "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"}, {output});
  set_attribute(norm, "epsilon", 0.0f);
}

inline void finish(onnx::GraphProto& graph, const std::string& output, const Shape& shape) {
  set_value(*graph.add_output(), output, onnx::TensorProto::FLOAT, shape);
}

inline std::vector<float> weight_values(const OnnxModel& model, const std::string& name) {
  for (const auto& tensor : model.impl().proto.graph().initializer())
    if (tensor.name() == name) {
      const std::vector<double> values = doubles_of(tensor);
      return {values.begin(), values.end()};
    }
  return {};
}

inline int count_of(const OnnxModel& model, const std::string& op) {
  for (const auto& [name, count] : model.summary().operators)
    if (name == op) return count;
  return 0;
}

}  // namespace ferry::test
