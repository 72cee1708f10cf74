// free_batch: see steps.h.
//
// Whether a node is indifferent to the batch is found out by asking shape inference: with a batch that no network has,
// every value that belongs to the batch shows that number in front, and the first node that loses it is the one that
// fixes the batch.
#include <fmt/format.h>

#include "ferry/error.h"
#include "onnx/foreign/steps.h"
#include "onnx/graph_index.h"
#include "onnx/infer_types.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

using onnx::NodeProto;
using Types = std::map<std::string, const onnx::TypeProto*>;

constexpr std::int64_t kProbe = 104729;  // the 10000th prime

onnx::TensorShapeProto_Dimension& batch_of(onnx::ValueInfoProto& port) {
  return *port.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(0);
}

/// The first dimension; -1 if it, or the shape, is not known.
std::int64_t leading(const Types& types, const std::string& value) {
  const auto found = types.find(value);
  if (found == types.end() || found->second->tensor_type().shape().dim_size() == 0) return -1;
  const auto& dim = found->second->tensor_type().shape().dim(0);
  return dim.has_dim_value() ? dim.dim_value() : -1;
}

bool is_float(const Types& types, const std::string& value) {
  const auto found = types.find(value);
  return found != types.end() && is_floating(found->second->tensor_type().elem_type());
}

/// The first node that reads something of the batch and makes something of another known size in front.
NodeProto* first_to_lose_batch(onnx::GraphProto& graph, const Types& types) {
  for (NodeProto& node : *graph.mutable_node()) {
    bool reads = false;
    for (const std::string& input : node.input()) reads |= leading(types, input) == kProbe;
    if (!reads || node.output().empty() || !is_float(types, node.output(0))) continue;
    const std::int64_t made = leading(types, node.output(0));
    if (made != kProbe && made != -1) return &node;
  }
  return nullptr;
}

void set_target(onnx::GraphProto& graph, NodeProto& reshape, const std::vector<std::int64_t>& target) {
  const std::string name = GraphIndex(graph).unused_name(reshape.output(0) + ".shape");
  *graph.add_initializer() = make_int64s(name, target);
  reshape.set_input(1, name);
  erase_attribute(reshape, "allowzero");
}

/// Elements of one image; -1 if a dimension is not known.
std::int64_t image_size(const Types& types, const std::string& value) {
  std::int64_t size = 1;
  const auto& dims = types.at(value)->tensor_type().shape().dim();
  for (int i = 1; i < dims.size(); ++i) {
    if (!dims.Get(i).has_dim_value() || __builtin_mul_overflow(size, dims.Get(i).dim_value(), &size)) return -1;
  }
  return size;
}

/// Reshape to [1, 2048] becomes Reshape to [0, 2048], where 0 takes the size from the input: right if the first
/// dimension was the batch and the others hold one image.
bool free_reshape(onnx::GraphProto& graph, NodeProto& node, const Types& types, std::int64_t fixed) {
  if (node.op_type() != "Reshape" || leading(types, node.input(0)) != kProbe) return false;
  const onnx::TensorProto* target = GraphIndex(graph).weight(node.input(1));
  if (target == nullptr) return false;
  std::vector<std::int64_t> shape = integers_of(*target);
  if (shape.empty() || shape[0] != fixed) return false;
  std::int64_t rest = 1;
  bool open = false;
  for (std::size_t i = 1; i < shape.size(); ++i) {
    if (shape[i] == 0 || (shape[i] > 0 && __builtin_mul_overflow(rest, shape[i], &rest))) return false;
    open |= shape[i] < 0;
  }
  const std::int64_t image = image_size(types, node.input(0));
  if (image <= 0 || (open ? image % rest != 0 : image != rest)) return false;
  shape[0] = 0;
  set_target(graph, node, shape);
  return true;
}

/// Reshape to a shape that nodes compute from the input's own (Shape, Gather, Concat) gets a constant that says the
/// same.
int settle_computed_shapes(onnx::GraphProto& graph, const Types& types) {
  int settled = 0;
  for (NodeProto& node : *graph.mutable_node()) {
    if (node.op_type() != "Reshape" || node.input_size() < 2) continue;
    if (leading(types, node.input(0)) != kProbe || leading(types, node.output(0)) != kProbe) continue;
    if (GraphIndex(graph).weight(node.input(1)) != nullptr) continue;
    std::vector<std::int64_t> target{0};
    const auto& dims = types.at(node.output(0))->tensor_type().shape().dim();
    for (int i = 1; i < dims.size(); ++i)
      if (dims.Get(i).has_dim_value() && dims.Get(i).dim_value() > 0 && dims.Get(i).dim_value() % kProbe != 0)
        target.push_back(dims.Get(i).dim_value());
    if (target.size() != static_cast<std::size_t>(dims.size())) continue;
    set_target(graph, node, target);
    ++settled;
  }
  return settled;
}

[[noreturn]] void refuse(const NodeProto& node, std::int64_t batch) {
  throw Error(Stage::kOnnx, describe(node),
              batch > 0 ? fmt::format("this node fixes the batch at {}", batch)
                        : std::string("behind this node the batch is no longer the first dimension"),
              "Export the model with a dynamic batch (dynamic_axes or dynamic_shapes).");
}

[[noreturn]] void refuse_unknown(const onnx::GraphProto& graph, const Types& types) {
  for (const NodeProto& node : graph.node())
    if (!node.output().empty() && leading(types, node.output(0)) == -1 && is_float(types, node.output(0)))
      throw Error(Stage::kOnnx, describe(node), "its output's shape depends on values that are computed while it runs",
                  "Simplify the model first (onnxsim, or torch.onnx.export(..., dynamo=True)).");
  throw Error(Stage::kOnnx, graph.output(0).name(), "the shape of this output cannot be found out");
}

/// Shape inference with the probe as batch, after making every node indifferent to it. Not strict: behind a node that
/// fixes the batch, shapes may well contradict.
onnx::ModelProto infer_with_probe(onnx::ModelProto& model, const std::string& name, std::int64_t fixed,
                                  Changes& changes) {
  onnx::GraphProto& graph = *model.mutable_graph();
  for (;;) {
    onnx::ModelProto inferred = infer_types(model, name, /*strict=*/false);
    const Types types = types_of(inferred);
    NodeProto* node = first_to_lose_batch(graph, types);
    if (node == nullptr) return inferred;
    if (!free_reshape(graph, *node, types, fixed)) refuse(*node, fixed);
    changes.push_back(describe(*node) + " no longer fixes the batch");
  }
}

}  // namespace

void free_batch(onnx::ModelProto& model, const std::string& name, Changes& changes) {
  onnx::GraphProto& graph = *model.mutable_graph();
  onnx::ValueInfoProto& output = *graph.mutable_output(0);
  graph.clear_value_info();  // it says the old batch, as does the output
  output.mutable_type()->mutable_tensor_type()->clear_shape();
  auto& batch = batch_of(*graph.mutable_input(0));
  const std::int64_t fixed = batch.has_dim_value() ? batch.dim_value() : -1;
  if (fixed > 0) changes.push_back(fmt::format("the batch was fixed at {}: dynamic now", fixed));
  batch.set_dim_value(kProbe);
  const onnx::ModelProto inferred = infer_with_probe(model, name, fixed, changes);
  const Types types = types_of(inferred);
  if (leading(types, output.name()) == -1) infer_types(model, name);  // throws if a contradiction is the reason
  if (leading(types, output.name()) == -1) refuse_unknown(graph, types);
  if (leading(types, output.name()) != kProbe)
    throw Error(Stage::kOnnx, output.name(), "the first dimension of this output does not follow the batch",
                "Export the model with a dynamic batch (dynamic_axes or dynamic_shapes).");
  if (const int settled = settle_computed_shapes(graph, types); settled > 0)
    changes.push_back(fmt::format("gave {} Reshape nodes a constant shape", settled));
  *output.mutable_type() = *types.at(output.name());
  batch_of(output).set_dim_param("N");
  batch.set_dim_param("N");
}

}  // namespace ferry
