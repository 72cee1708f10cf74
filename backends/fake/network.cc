#include "fake/network.h"

#include <onnx/onnx_pb.h>

#include "module/module.h"

namespace ferry::fake {
namespace {

std::uint64_t fnv1a(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

Port port_of(const onnx::ValueInfoProto& value) {
  const onnx::TypeProto_Tensor& type = value.type().tensor_type();
  if (type.elem_type() != onnx::TensorProto::FLOAT)
    throw module::Failure(value.name(), "the fake engine takes float32 inputs and outputs only");
  Port port{value.name(), {}};
  for (const auto& dim : type.shape().dim()) port.shape.push_back(dim.has_dim_value() ? dim.dim_value() : -1);
  if (port.shape.empty()) throw module::Failure(value.name(), "the fake engine needs a shape with a batch dimension");
  port.shape[0] = -1;
  if (port.elements_per_image() < 1) throw module::Failure(value.name(), "a dimension other than the batch is unknown");
  return port;
}

/// Weighted layers by the type of their weights; a graph with Q/DQ counts as int8.
std::map<std::string, int> count_layers(const onnx::GraphProto& graph) {
  std::map<std::string, std::int32_t> weights;
  for (const auto& tensor : graph.initializer()) weights[tensor.name()] = tensor.data_type();
  bool quantized = false;
  for (const auto& node : graph.node()) quantized = quantized || node.op_type() == "QuantizeLinear";
  std::map<std::string, int> counts;
  for (const auto& node : graph.node()) {
    if (node.op_type() != "Conv" && node.op_type() != "Gemm" && node.op_type() != "MatMul") continue;
    const bool half = node.input_size() > 1 && weights[node.input(1)] == onnx::TensorProto::FLOAT16;
    ++counts[quantized ? "Int8" : half ? "Half" : "Float"];
  }
  return counts;
}

Port port_from(const nlohmann::json& json) {
  return {json.at("name").get<std::string>(), json.at("shape").get<std::vector<std::int64_t>>()};
}

}  // namespace

std::int64_t Port::elements_per_image() const {
  std::int64_t count = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) count *= shape[i];
  return count;
}

Network Network::from_onnx(std::string_view onnx) {
  onnx::ModelProto model;
  if (!model.ParseFromArray(onnx.data(), static_cast<int>(onnx.size())))
    throw module::Failure("", "the bytes are no ONNX model");
  const onnx::GraphProto& graph = model.graph();
  if (graph.input_size() != 1 || graph.output_size() != 1)
    throw module::Failure("", "the fake engine takes one input and one output");
  return {fnv1a(onnx), port_of(graph.input(0)), port_of(graph.output(0)), count_layers(graph)};
}

Network Network::from_json(const nlohmann::json& json) {
  return {json.at("onnx_hash").get<std::uint64_t>(), port_from(json.at("input")), port_from(json.at("output")),
          json.at("layers_by_type").get<std::map<std::string, int>>()};
}

nlohmann::json Network::to_json() const {
  return {{"onnx_hash", onnx_hash},
          {"input", {{"name", input.name}, {"shape", input.shape}}},
          {"output", {{"name", output.name}, {"shape", output.shape}}},
          {"layers_by_type", layers_by_type}};
}

void Network::run(std::int64_t batch, const float* in, float* out) const {
  const std::int64_t inputs = input.elements_per_image(), outputs = output.elements_per_image();
  const float scale =
      (1.0f + static_cast<float>(onnx_hash % 256) / 256.0f) * static_cast<float>(outputs) / static_cast<float>(inputs);
  for (std::int64_t n = 0; n < batch; ++n, in += inputs, out += outputs) {
    std::fill(out, out + outputs, 0.0f);
    for (std::int64_t i = 0; i < inputs; ++i)
      out[i % outputs] += scale * static_cast<float>(1 + i / outputs % 3) * in[i];
  }
}

}  // namespace ferry::fake
