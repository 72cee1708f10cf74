#include "onnx/infer_types.h"

#include <onnx/shape_inference/implementation.h>

#include <exception>

#include "ferry/error.h"
#include "onnx/graph_writer.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

constexpr std::size_t kLargestShapeData = 4096;  // bytes: targets of Reshape and the like, whose content matters

onnx::ModelProto without_large_weights(const onnx::ModelProto& model) {
  onnx::ModelProto skeleton;
  skeleton.set_ir_version(model.ir_version());
  *skeleton.mutable_opset_import() = model.opset_import();
  const onnx::GraphProto& from = model.graph();
  onnx::GraphProto& to = *skeleton.mutable_graph();
  to.set_name(from.name());
  *to.mutable_node() = from.node();
  *to.mutable_input() = from.input();
  *to.mutable_output() = from.output();
  *to.mutable_value_info() = from.value_info();
  for (const onnx::TensorProto& tensor : from.initializer()) {
    if (tensor.raw_data().size() <= kLargestShapeData) {
      *to.add_initializer() = tensor;
    } else {
      set_value(*to.add_input(), tensor.name(), tensor.data_type(), shape_of(tensor));
    }
  }
  return skeleton;
}

/// libonnx writes "(op_type:Conv, node name: layer1.0.conv1): [ShapeInferenceError] ...".
std::string node_in(const std::string& message, const std::string& fallback) {
  static const std::string mark = "node name: ";
  const std::size_t start = message.find(mark);
  const std::size_t end = message.find("):", start == std::string::npos ? 0 : start);
  if (start == std::string::npos || end == std::string::npos) return fallback;
  return message.substr(start + mark.size(), end - start - mark.size());
}

}  // namespace

onnx::ModelProto infer_types(const onnx::ModelProto& model, const std::string& name, bool strict) {
  onnx::ModelProto inferred = without_large_weights(model);
  try {
    const onnx::ShapeInferenceOptions options(/*check_type=*/strict, /*strict_mode=*/strict ? 1 : 0,
                                              /*data_prop=*/true);
    onnx::shape_inference::InferShapes(inferred, onnx::OpSchemaRegistry::Instance(), options);
  } catch (const std::exception& e) {
    throw Error(Stage::kOnnx, node_in(e.what(), name), std::string("types or shapes contradict: ") + e.what());
  }
  return inferred;
}

std::map<std::string, const onnx::TypeProto*> types_of(const onnx::ModelProto& inferred) {
  std::map<std::string, const onnx::TypeProto*> types;
  const onnx::GraphProto& graph = inferred.graph();
  for (const auto* values : {&graph.value_info(), &graph.input(), &graph.output()})
    for (const onnx::ValueInfoProto& value : *values) types[value.name()] = &value.type();
  return types;
}

}  // namespace ferry
