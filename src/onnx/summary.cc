#include <algorithm>
#include <map>

#include "ferry/error.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

Port port_of(const onnx::ValueInfoProto& value) {
  Port port;
  port.name = value.name();
  const auto& type = value.type().tensor_type();
  port.dtype = static_cast<DType>(type.elem_type());
  for (const auto& dim : type.shape().dim()) port.shape.push_back(dim.has_dim_value() ? dim.dim_value() : -1);
  return port;
}

std::vector<std::pair<std::string, int>> count_operators(const onnx::GraphProto& graph) {
  std::map<std::string, int> counts;
  for (const onnx::NodeProto& node : graph.node()) ++counts[node.op_type()];
  std::vector<std::pair<std::string, int>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return sorted;
}

/// The type that most of the weights have.
Precision precision_of(const onnx::GraphProto& graph) {
  std::int64_t halves = 0, floats = 0;
  for (const onnx::NodeProto& node : graph.node())
    if (node.op_type() == "DequantizeLinear") return Precision::kInt8;
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    if (tensor.data_type() == onnx::TensorProto::FLOAT16) halves += element_count(shape_of(tensor));
    if (tensor.data_type() == onnx::TensorProto::FLOAT) floats += element_count(shape_of(tensor));
  }
  return halves > floats ? Precision::kFp16 : Precision::kFp32;
}

}  // namespace

OnnxSummary OnnxModel::summary() const {
  const onnx::ModelProto& model = impl_->proto;
  OnnxSummary summary;
  for (const auto& input : model.graph().input()) summary.inputs.push_back(port_of(input));
  for (const auto& output : model.graph().output()) summary.outputs.push_back(port_of(output));
  summary.ir_version = model.ir_version();
  summary.opset = opset_of(model);
  summary.producer = model.producer_name();
  if (!model.producer_version().empty()) summary.producer += " " + model.producer_version();
  summary.operators = count_operators(model.graph());
  for (const onnx::TensorProto& tensor : model.graph().initializer())
    summary.parameters += element_count(shape_of(tensor));
  summary.precision = precision_of(model.graph());
  for (const auto& entry : model.metadata_props()) summary.metadata.emplace_back(entry.key(), entry.value());
  return summary;
}

const char* name_of(Precision precision) noexcept {
  switch (precision) {
    case Precision::kFp32:
      return "fp32";
    case Precision::kFp16:
      return "fp16";
    case Precision::kInt8:
      return "int8";
  }
  return "unknown";
}

Precision precision_named(const std::string& name) {
  for (const Precision precision : {Precision::kFp32, Precision::kFp16, Precision::kInt8})
    if (name == name_of(precision)) return precision;
  throw Error(Stage::kUsage, name, "this is no precision", "Use fp32, fp16 or int8.");
}

}  // namespace ferry
