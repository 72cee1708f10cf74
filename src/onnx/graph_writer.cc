#include "onnx/graph_writer.h"

#include "onnx/graph_index.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

void set_window(onnx::NodeProto& node, GraphWriter::Window window) {
  set_attribute(node, "kernel_shape", {window.kernel, window.kernel});
  set_attribute(node, "strides", {window.stride, window.stride});
  set_attribute(node, "pads", {window.padding, window.padding, window.padding, window.padding});
}

}  // namespace

void set_value(onnx::ValueInfoProto& value, const std::string& name, int onnx_type, const Shape& shape) {
  value.set_name(name);
  auto& type = *value.mutable_type()->mutable_tensor_type();
  type.set_elem_type(onnx_type);
  type.mutable_shape()->clear_dim();
  for (std::int64_t size : shape) {
    auto& dim = *type.mutable_shape()->add_dim();
    if (size < 0) {
      dim.set_dim_param("N");
    } else {
      dim.set_dim_value(size);
    }
  }
}

onnx::NodeProto& GraphWriter::node(const char* op, const std::string& name, const std::vector<std::string>& inputs) {
  onnx::NodeProto& node = *graph_.add_node();
  node.set_op_type(op);
  node.set_name(name);
  for (const std::string& input : inputs) node.add_input(input);
  node.add_output(name);
  return node;
}

std::string GraphWriter::input(const std::string& name, const Shape& shape) {
  set_value(*graph_.add_input(), name, onnx::TensorProto::FLOAT, shape);
  return name;
}

void GraphWriter::output(const std::string& name, const Shape& shape) {
  set_value(*graph_.add_output(), name, onnx::TensorProto::FLOAT, shape);
}

std::string GraphWriter::weight(const std::string& name, const TensorView& data) {
  *graph_.add_initializer() = make_tensor(name, data);
  return name;
}

std::string GraphWriter::conv(const std::string& name, const std::string& x, const std::string& weight, Window window,
                              std::int64_t groups) {
  onnx::NodeProto& conv = node("Conv", name, {x, weight});
  set_window(conv, window);
  set_attribute(conv, "dilations", {1, 1});
  set_attribute(conv, "group", groups);
  return name;
}

std::string GraphWriter::batch_norm(const std::string& module, const std::string& x, float epsilon) {
  onnx::NodeProto& norm =
      node("BatchNormalization", module,
           {x, module + ".weight", module + ".bias", module + ".running_mean", module + ".running_var"});
  set_attribute(norm, "epsilon", epsilon);
  return module;
}

std::string GraphWriter::relu(const std::string& name, const std::string& x) {
  node("Relu", name, {x});
  return name;
}

std::string GraphWriter::add(const std::string& name, const std::string& a, const std::string& b) {
  node("Add", name, {a, b});
  return name;
}

std::string GraphWriter::max_pool(const std::string& name, const std::string& x, Window window) {
  set_window(node("MaxPool", name, {x}), window);
  return name;
}

std::string GraphWriter::global_average_pool(const std::string& name, const std::string& x) {
  node("GlobalAveragePool", name, {x});
  return name;
}

std::string GraphWriter::flatten(const std::string& name, const std::string& x) {
  set_attribute(node("Flatten", name, {x}), "axis", std::int64_t{1});
  return name;
}

std::string GraphWriter::linear(const std::string& name, const std::string& x, const std::string& weight,
                                const std::string& bias, const std::string& result) {
  onnx::NodeProto& gemm = node("Gemm", name, {x, weight, bias});
  set_attribute(gemm, "transB", std::int64_t{1});
  *gemm.mutable_output(0) = result;
  return result;
}

}  // namespace ferry
