// settle_ports: see steps.h.
#include <fmt/format.h>

#include <algorithm>

#include "ferry/error.h"
#include "onnx/foreign/steps.h"
#include "onnx/graph_index.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

using onnx::NodeProto;
using onnx::ValueInfoProto;

constexpr std::int64_t kUsualSize = 224;

template <class Field>
std::string names_of(const Field& values) {
  std::string names;
  for (const auto& value : values) names += (names.empty() ? "'" : ", '") + value.name() + "'";
  return names;
}

std::string shape_text(const ValueInfoProto& value) {
  std::string text;
  for (const auto& dim : value.type().tensor_type().shape().dim())
    text += (text.empty() ? "" : "x") + (dim.has_dim_value() ? std::to_string(dim.dim_value()) : std::string("?"));
  return text.empty() ? "of unknown shape" : text;
}

std::int64_t dim(const ValueInfoProto& value, int i) {
  const auto& d = value.type().tensor_type().shape().dim(i);
  return d.has_dim_value() ? d.dim_value() : -1;
}

void set_dim(ValueInfoProto& value, int i, std::int64_t size) {
  value.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(i)->set_dim_value(size);
}

bool is_channels(std::int64_t size) { return size == 1 || size == 3 || size == 4; }

/// Does a convolution read the second dimension as channels, or does it at least look like channels?
bool is_channels_first(onnx::GraphProto& graph) {
  const ValueInfoProto& input = graph.input(0);
  const GraphIndex index(graph);
  for (const NodeProto* node : index.consumers(input.name())) {
    const onnx::TensorProto* weight = node->input_size() > 1 ? index.weight(node->input(1)) : nullptr;
    if (node->op_type() == "Conv" && weight != nullptr && weight->dims_size() == 4)
      return weight->dims(1) * int_attribute(*node, "group", 1) == dim(input, 1);
  }
  return is_channels(dim(input, 1)) || !is_channels(dim(input, 3));
}

/// The input is [N,H,W,C]: fine if a Transpose to [N,C,H,W] is all that reads it.
void drop_transpose(onnx::GraphProto& graph, Changes& changes) {
  ValueInfoProto& input = *graph.mutable_input(0);
  const GraphIndex index(graph);
  const std::vector<NodeProto*>& readers = index.consumers(input.name());
  const auto turns = [](const NodeProto& node) {
    const onnx::AttributeProto* perm = find_attribute(node, "perm");
    const std::vector<std::int64_t> wanted{0, 3, 1, 2};
    return node.op_type() == "Transpose" && perm != nullptr &&
           std::equal(wanted.begin(), wanted.end(), perm->ints().begin(), perm->ints().end());
  };
  if (readers.size() != 1 || !turns(*readers[0]) || index.is_output(readers[0]->output(0)))
    throw Error(Stage::kOnnx, readers.empty() ? input.name() : describe(*readers[0]),
                fmt::format("the input '{}' is {}, channels last, and no Transpose turns it at once", input.name(),
                            shape_text(input)),
                "Export the model with channels first (tf2onnx: --inputs-as-nchw).");
  const std::int64_t height = dim(input, 1), width = dim(input, 2), channels = dim(input, 3);
  auto& shape = *input.mutable_type()->mutable_tensor_type()->mutable_shape();
  shape.mutable_dim(1)->Clear();
  set_dim(input, 1, channels);
  for (const auto& [i, size] : {std::pair{2, height}, std::pair{3, width}}) {
    shape.mutable_dim(i)->Clear();
    if (size > 0) set_dim(input, i, size);
  }
  replace_uses(index, readers[0]->output(0), input.name());
  changes.push_back(
      fmt::format("the input '{}' is channels first now; removed {}", input.name(), describe(*readers[0])));
  erase_nodes(graph, {readers[0]});
}

void fix_size(ValueInfoProto& input, Changes& changes) {
  if (dim(input, 2) > 0 && dim(input, 3) > 0) return;
  for (int i : {2, 3})
    if (dim(input, i) <= 0) set_dim(input, i, kUsualSize);
  changes.push_back(
      fmt::format("height and width of '{}' were free: fixed at {}x{}", input.name(), dim(input, 2), dim(input, 3)));
}

void settle_input(onnx::GraphProto& graph, Changes& changes) {
  if (graph.input_size() != 1)
    throw Error(Stage::kOnnx, names_of(graph.input()),
                fmt::format("the model has {} inputs; ferry needs one, the image", graph.input_size()),
                "Export the part of the network from the image to the class scores.");
  ValueInfoProto& input = *graph.mutable_input(0);
  const auto& type = input.type().tensor_type();
  const bool is_float = type.elem_type() == onnx::TensorProto::FLOAT || type.elem_type() == onnx::TensorProto::FLOAT16;
  if (!is_float || type.shape().dim_size() != 4)
    throw Error(
        Stage::kOnnx, input.name(),
        fmt::format("this input is {} {}, not a float image [N,C,H,W]", type_name(type.elem_type()), shape_text(input)),
        "Export the model with normalised float images as input.");
  if (dim(input, 1) > 0 && !is_channels_first(graph)) drop_transpose(graph, changes);
  if (dim(input, 1) <= 0)
    throw Error(Stage::kOnnx, input.name(), "the number of channels of this input is not known",
                "Export the model with a fixed number of channels.");
  fix_size(input, changes);
}

}  // namespace

void settle_ports(onnx::GraphProto& graph, Changes& changes) {
  settle_input(graph, changes);
  if (graph.output_size() != 1)
    throw Error(Stage::kOnnx, names_of(graph.output()),
                fmt::format("the model has {} outputs; ferry needs one, the class scores", graph.output_size()),
                "Export the model without its auxiliary outputs.");
  const auto& output = graph.output(0);
  const int type = output.type().tensor_type().elem_type();
  if (type != onnx::TensorProto::FLOAT && type != onnx::TensorProto::FLOAT16)
    throw Error(Stage::kOnnx, output.name(), fmt::format("this output is {}, not float scores", type_name(type)),
                "Export the model up to its class scores, without ArgMax or TopK.");
}

}  // namespace ferry
