// fold_constants: see steps.h.
#include <fmt/format.h>

#include "onnx/foreign/evaluate.h"
#include "onnx/foreign/steps.h"
#include "onnx/graph_index.h"

namespace ferry {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

/// Does this node hand its first input through unchanged when the network is not being trained?
bool does_nothing(const GraphIndex& index, const NodeProto& node) {
  if (node.op_type() == "Identity") return true;
  if (node.op_type() != "Dropout") return false;
  for (int i = 1; i < node.output_size(); ++i)  // the mask
    if (!index.consumers(node.output(i)).empty() || index.is_output(node.output(i))) return false;
  if (node.input_size() < 3 || node.input(2).empty()) return true;
  const TensorProto* training = index.weight(node.input(2));
  return training != nullptr && training->raw_data() == std::string(1, '\0');
}

int remove_idle_nodes(onnx::GraphProto& graph) {
  const GraphIndex index(graph);
  std::unordered_set<const NodeProto*> gone;
  for (NodeProto& node : *graph.mutable_node()) {
    if (node.input_size() == 0 || node.output_size() == 0 || !does_nothing(index, node)) continue;
    if (index.is_output(node.output(0))) continue;  // it carries the output's name
    replace_uses(index, node.output(0), node.input(0));
    gone.insert(&node);
  }
  erase_nodes(graph, gone);
  return static_cast<int>(gone.size());
}

int compute_constants(onnx::GraphProto& graph) {
  Weights weights;
  std::unordered_set<std::string> outputs;
  for (const TensorProto& tensor : graph.initializer()) weights[tensor.name()] = &tensor;
  for (const auto& output : graph.output()) outputs.insert(output.name());
  std::unordered_set<const NodeProto*> gone;
  for (NodeProto& node : *graph.mutable_node()) {
    if (node.output_size() != 1 || outputs.contains(node.output(0))) continue;
    std::optional<TensorProto> result = evaluate(node, weights);
    if (!result) continue;
    TensorProto& added = *graph.add_initializer();
    added.Swap(&*result);
    added.set_name(node.output(0));
    weights[added.name()] = &added;
    gone.insert(&node);
  }
  erase_nodes(graph, gone);
  return static_cast<int>(gone.size());
}

}  // namespace

void fold_constants(onnx::GraphProto& graph, Changes& changes) {
  const int computed = compute_constants(graph), idle = remove_idle_nodes(graph), again = compute_constants(graph);
  erase_unused(graph);
  if (computed + again > 0) changes.push_back(fmt::format("computed {} constants", computed + again));
  if (idle > 0) changes.push_back(fmt::format("removed {} nodes that do nothing (Identity, Dropout)", idle));
}

}  // namespace ferry
