// convert_opset: see steps.h.
//
// From older versions: libonnx knows whether an operator's definition changed up to opset 17. From newer ones it knows
// nothing, so the operators that may pass are listed here. The lists follow ONNX's own change log (docs/Changelog.md
// there, opsets 11 to 26).
#include <fmt/format.h>
#include <onnx/defs/schema.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "ferry/error.h"
#include "onnx/foreign/steps.h"
#include "onnx/graph_index.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

using onnx::AttributeProto;
using onnx::NodeProto;

constexpr int kNewestKnown = 26;

/// Operators whose later or earlier definitions differ from opset 17's in the element types that they allow only.
const std::set<std::string>& only_types_changed() {
  static const std::set<std::string> ops{"Abs",
                                         "Acos",
                                         "Add",
                                         "And",
                                         "ArgMax",
                                         "ArgMin",
                                         "Atan",
                                         "Ceil",
                                         "Clip",
                                         "Concat",
                                         "Constant",
                                         "Conv",
                                         "ConvTranspose",
                                         "Cos",
                                         "DepthToSpace",
                                         "Div",
                                         "Elu",
                                         "Equal",
                                         "Erf",
                                         "Exp",
                                         "Expand",
                                         "Flatten",
                                         "Floor",
                                         "Gather",
                                         "GatherElements",
                                         "GatherND",
                                         "Gemm",
                                         "GlobalAveragePool",
                                         "GlobalMaxPool",
                                         "Greater",
                                         "GreaterOrEqual",
                                         "HardSigmoid",
                                         "HardSwish",
                                         "Identity",
                                         "InstanceNormalization",
                                         "LRN",
                                         "LayerNormalization",
                                         "LeakyRelu",
                                         "Less",
                                         "LessOrEqual",
                                         "Log",
                                         "MatMul",
                                         "Max",
                                         "MaxPool",
                                         "Mean",
                                         "Min",
                                         "Mul",
                                         "Neg",
                                         "Not",
                                         "Or",
                                         "PRelu",
                                         "Pow",
                                         "Range",
                                         "Reciprocal",
                                         "Relu",
                                         "Reshape",
                                         "Round",
                                         "Selu",
                                         "Shape",
                                         "Sigmoid",
                                         "Sign",
                                         "Sin",
                                         "Size",
                                         "Slice",
                                         "Softplus",
                                         "Softsign",
                                         "SpaceToDepth",
                                         "Sqrt",
                                         "Sub",
                                         "Sum",
                                         "Tan",
                                         "Tanh",
                                         "ThresholdedRelu",
                                         "Tile",
                                         "TopK",
                                         "Transpose",
                                         "Where",
                                         "Xor",
                                         "ConstantOfShape"};
  return ops;
}

/// What stands in the way of one node; empty if it is opset 17 now.
using Rewrite = std::function<std::string(onnx::GraphProto&, const GraphIndex&, NodeProto&)>;

/// Drops an attribute that opset 17 does not have, if it says what opset 17 does anyway.
std::string drop(NodeProto& node, const std::string& name, const std::function<bool(const AttributeProto&)>& harmless) {
  const AttributeProto* attribute = find_attribute(node, name);
  if (attribute == nullptr) return {};
  if (!harmless(*attribute)) return fmt::format("its attribute '{}' has no equal in opset {}", name, kOnnxOpset);
  erase_attribute(node, name);
  return {};
}

bool is_zero(const AttributeProto& attribute) { return attribute.i() == 0; }
bool is_one(const AttributeProto& attribute) { return attribute.i() == 1; }
bool all_ones(const AttributeProto& attribute) {
  return std::all_of(attribute.ints().begin(), attribute.ints().end(), [](std::int64_t i) { return i == 1; });
}

std::string first_of(std::initializer_list<std::string> problems) {
  for (const std::string& problem : problems)
    if (!problem.empty()) return problem;
  return {};
}

/// ReduceMean and its kin: axes were an attribute until 17 and are an input from 18.
std::string reduce_down(onnx::GraphProto&, const GraphIndex& index, NodeProto& node) {
  const bool noop = int_attribute(node, "noop_with_empty_axes", 0) != 0;
  erase_attribute(node, "noop_with_empty_axes");
  const bool has_axes = node.input_size() > 1 && !node.input(1).empty();
  if (!has_axes) return noop ? "it does nothing (noop_with_empty_axes), which opset 17 cannot say" : "";
  const onnx::TensorProto* axes = index.weight(node.input(1));
  if (axes == nullptr || axes->data_type() != onnx::TensorProto::INT64) return "its axes are computed while it runs";
  set_attribute(node, "axes", integers_of(*axes));
  while (node.input_size() > 1) node.mutable_input()->RemoveLast();
  return {};
}

/// Turns an attribute of integers into a constant input: Squeeze, Unsqueeze, ReduceSum, Split from opset 13.
std::string attribute_to_input(onnx::GraphProto& graph, const GraphIndex& index, NodeProto& node, const char* name) {
  const AttributeProto* attribute = find_attribute(node, name);
  if (attribute == nullptr) return {};
  const std::string value = index.unused_name(node.output(0) + "." + name);
  *graph.add_initializer() = make_int64s(value, {attribute->ints().begin(), attribute->ints().end()});
  node.add_input(value);
  erase_attribute(node, name);
  return {};
}

Rewrite to_input(const char* name) {
  return [name](onnx::GraphProto& graph, const GraphIndex& index, NodeProto& node) {
    return attribute_to_input(graph, index, node, name);
  };
}

std::string batch_norm_up(onnx::GraphProto&, const GraphIndex& index, NodeProto& node) {
  for (int i = 1; i < node.output_size(); ++i)
    if (!index.consumers(node.output(i)).empty() || index.is_output(node.output(i)))
      return "its statistics of training are used";
  while (node.output_size() > 1) node.mutable_output()->RemoveLast();
  return drop(node, "spatial", is_one);
}

/// Until 12, Softmax flattened everything from `axis` on; the same as today only along the last dimension.
std::string softmax_up(onnx::GraphProto&, const GraphIndex&, NodeProto& node) {
  if (int_attribute(node, "axis", 1) == -1) return {};
  return "its axis had another meaning before opset 13";
}

std::string pad_down(onnx::GraphProto&, const GraphIndex&, NodeProto& node) {
  if (node.input_size() > 3 && !node.input(3).empty()) return "its input 'axes' has no equal in opset 17";
  while (node.input_size() > 3) node.mutable_input()->RemoveLast();
  const AttributeProto* mode = find_attribute(node, "mode");
  return mode != nullptr && mode->s() == "wrap" ? "its mode 'wrap' has no equal in opset 17" : "";
}

std::string resize_down(onnx::GraphProto&, const GraphIndex&, NodeProto& node) {
  const AttributeProto* mode = find_attribute(node, "coordinate_transformation_mode");
  if (mode != nullptr && mode->s() == "half_pixel_symmetric")
    return "its mode 'half_pixel_symmetric' has no equal in opset 17";
  if (find_attribute(node, "axes") != nullptr) return "its attribute 'axes' has no equal in opset 17";
  return first_of({drop(node, "antialias", is_zero),
                   drop(node, "keep_aspect_ratio_policy", [](const AttributeProto& a) { return a.s() == "stretch"; })});
}

std::string same(onnx::GraphProto&, const GraphIndex&, NodeProto&) { return {}; }

const std::map<std::string, Rewrite>& rewrites_down() {
  static const std::map<std::string, Rewrite> table = [] {
    std::map<std::string, Rewrite> t;
    for (const std::string& op : only_types_changed()) t[op] = same;
    for (const char* op : {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
                           "ReduceMin", "ReduceProd", "ReduceSumSquare"})
      t[op] = reduce_down;
    for (const char* op :
         {"ReduceSum", "Squeeze", "Unsqueeze", "BatchNormalization", "Dropout", "Softmax", "LogSoftmax", "CumSum"})
      t[op] = same;
    t["Split"] = [](onnx::GraphProto&, const GraphIndex&, NodeProto& node) {  // into equal parts: shapes are checked
      return drop(node, "num_outputs", [&](const AttributeProto& a) { return a.i() == node.output_size(); });
    };
    t["Pad"] = pad_down;
    t["Resize"] = resize_down;
    t["AveragePool"] = [](onnx::GraphProto&, const GraphIndex&, NodeProto& node) {
      return drop(node, "dilations", all_ones);
    };
    t["Cast"] = t["CastLike"] = [](onnx::GraphProto&, const GraphIndex&, NodeProto& node) {
      return first_of({drop(node, "saturate", is_one),
                       drop(node, "round_mode", [](const AttributeProto& a) { return a.s() == "up"; })});
    };
    t["QuantizeLinear"] = t["DequantizeLinear"] = [](onnx::GraphProto&, const GraphIndex&, NodeProto& node) {
      return first_of({drop(node, "saturate", is_one), drop(node, "block_size", is_zero),
                       drop(node, "output_dtype", is_zero), drop(node, "precision", is_zero)});
    };
    return t;
  }();
  return table;
}

const std::map<std::string, Rewrite>& rewrites_up() {
  static const std::map<std::string, Rewrite> table = [] {
    std::map<std::string, Rewrite> t;
    for (const std::string& op : only_types_changed()) t[op] = same;
    for (const char* op : {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
                           "ReduceMin", "ReduceProd", "ReduceSumSquare", "Cast", "Pad", "Resize", "AveragePool",
                           "QuantizeLinear", "DequantizeLinear", "CumSum"})
      t[op] = same;
    t["Squeeze"] = t["Unsqueeze"] = t["ReduceSum"] = to_input("axes");
    t["Split"] = to_input("split");
    t["BatchNormalization"] = batch_norm_up;
    t["Softmax"] = t["LogSoftmax"] = softmax_up;
    return t;
  }();
  return table;
}

/// Is the operator's definition at `opset` the one that opset 17 has?
bool unchanged(const NodeProto& node, int opset) {
  const auto* then = onnx::OpSchemaRegistry::Schema(node.op_type(), opset, "");
  const auto* now = onnx::OpSchemaRegistry::Schema(node.op_type(), kOnnxOpset, "");
  return then != nullptr && now != nullptr && then->SinceVersion() == now->SinceVersion();
}

std::string rewrite(onnx::GraphProto& graph, NodeProto& node, int opset) {
  if (opset < kOnnxOpset && unchanged(node, opset)) return {};
  const auto& table = opset > kOnnxOpset ? rewrites_down() : rewrites_up();
  const auto found = table.find(node.op_type());
  if (found == table.end())
    return fmt::format("the operator {} is not among those that ferry can rewrite to opset {}", node.op_type(),
                       kOnnxOpset);
  return found->second(graph, GraphIndex(graph), node);
}

void set_opset(onnx::ModelProto& model, int version) {
  model.clear_opset_import();
  model.add_opset_import()->set_version(version);
}

}  // namespace

void convert_opset(onnx::ModelProto& model, Changes& changes) {
  const auto opset = static_cast<int>(std::min<std::int64_t>(opset_of(model), kNewestKnown + 1));
  if (opset == kOnnxOpset) return set_opset(model, opset);
  if (opset > kNewestKnown)
    throw Error(Stage::kOnnx, model.graph().name(),
                fmt::format("opset {} is newer than the newest that ferry knows, {}", opset_of(model), kNewestKnown),
                fmt::format("Export the model with opset_version={}.", kOnnxOpset));
  if (opset < 11)
    throw Error(Stage::kOnnx, model.graph().name(), fmt::format("opset {} is from before 2019", opset),
                "Export the model with opset 11 or newer, best 17.");
  onnx::GraphProto& graph = *model.mutable_graph();
  const google::protobuf::RepeatedPtrField<NodeProto> old_nodes = graph.node();
  const int old_weights = graph.initializer_size();
  for (NodeProto& node : *graph.mutable_node()) {
    const std::string problem = rewrite(graph, node, opset);
    if (problem.empty()) continue;
    if (opset > kOnnxOpset)
      throw Error(Stage::kOnnx, describe(node), fmt::format("opset {}: {}", opset, problem),
                  fmt::format("Export the model with opset_version={}.", kOnnxOpset));
    changes.push_back(fmt::format("kept opset {}: {}: {}", opset, describe(node), problem));
    *graph.mutable_node() = old_nodes;
    graph.mutable_initializer()->DeleteSubrange(old_weights, graph.initializer_size() - old_weights);
    return;
  }
  set_opset(model, kOnnxOpset);
  changes.push_back(fmt::format("rewrote opset {} as opset {}", opset, kOnnxOpset));
}

}  // namespace ferry
