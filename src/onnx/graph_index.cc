#include "onnx/graph_index.h"

#include <algorithm>

#include "ferry/error.h"

namespace ferry {
namespace {

using onnx::AttributeProto;
using onnx::GraphProto;
using onnx::NodeProto;
using onnx::TensorProto;

/// Erases the elements for which `gone` is true, keeping the order of the others.
template <class Field, class Predicate>
void erase_if(Field& field, Predicate gone) {
  int kept = 0;
  for (int i = 0; i < field.size(); ++i)
    if (!gone(field.Get(i))) field.SwapElements(kept++, i);
  field.DeleteSubrange(kept, field.size() - kept);
}

AttributeProto& attribute_for(NodeProto& node, const std::string& name) {
  erase_attribute(node, name);
  AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  return attribute;
}

}  // namespace

GraphIndex::GraphIndex(GraphProto& graph) {
  for (NodeProto& node : *graph.mutable_node()) {
    for (const AttributeProto& attribute : node.attribute())
      if (attribute.has_g() || attribute.graphs_size() > 0)
        throw Error(Stage::kOnnx, describe(node), "control flow (a graph inside a node) is not supported",
                    "Export the model with fixed control flow, e.g. in evaluation mode.");
    for (const std::string& value : node.output())
      if (!value.empty()) producers_[value] = &node;
    for (const std::string& value : node.input())
      if (!value.empty()) consumers_[value].push_back(&node);
  }
  for (TensorProto& tensor : *graph.mutable_initializer()) weights_[tensor.name()] = &tensor;
  for (const auto& input : graph.input()) inputs_.insert(input.name());
  for (const auto& output : graph.output()) outputs_.insert(output.name());
}

NodeProto* GraphIndex::producer(const std::string& value) const {
  const auto found = producers_.find(value);
  return found == producers_.end() ? nullptr : found->second;
}

const std::vector<NodeProto*>& GraphIndex::consumers(const std::string& value) const {
  static const std::vector<NodeProto*> none;
  const auto found = consumers_.find(value);
  return found == consumers_.end() ? none : found->second;
}

TensorProto* GraphIndex::weight(const std::string& value) const {
  const auto found = weights_.find(value);
  return found == weights_.end() ? nullptr : found->second;
}

bool GraphIndex::knows(const std::string& value) const {
  return producers_.contains(value) || weights_.contains(value) || inputs_.contains(value) ||
         consumers_.contains(value);
}

std::string GraphIndex::unused_name(const std::string& wanted) const {
  std::string name = wanted;
  for (int i = 2; knows(name); ++i) name = wanted + "_" + std::to_string(i);
  return name;
}

std::string describe(const NodeProto& node) {
  const std::string& name = !node.name().empty() ? node.name() : node.output_size() > 0 ? node.output(0) : node.name();
  return name + " (" + node.op_type() + ")";
}

const AttributeProto* find_attribute(const NodeProto& node, const std::string& name) {
  for (const AttributeProto& attribute : node.attribute())
    if (attribute.name() == name) return &attribute;
  return nullptr;
}

std::int64_t int_attribute(const NodeProto& node, const std::string& name, std::int64_t fallback) {
  const AttributeProto* attribute = find_attribute(node, name);
  return attribute != nullptr && attribute->type() == AttributeProto::INT ? attribute->i() : fallback;
}

float float_attribute(const NodeProto& node, const std::string& name, float fallback) {
  const AttributeProto* attribute = find_attribute(node, name);
  return attribute != nullptr && attribute->type() == AttributeProto::FLOAT ? attribute->f() : fallback;
}

void set_attribute(NodeProto& node, const std::string& name, std::int64_t value) {
  AttributeProto& attribute = attribute_for(node, name);
  attribute.set_type(AttributeProto::INT);
  attribute.set_i(value);
}

void set_attribute(NodeProto& node, const std::string& name, float value) {
  AttributeProto& attribute = attribute_for(node, name);
  attribute.set_type(AttributeProto::FLOAT);
  attribute.set_f(value);
}

void set_attribute(NodeProto& node, const std::string& name, const std::vector<std::int64_t>& values) {
  AttributeProto& attribute = attribute_for(node, name);
  attribute.set_type(AttributeProto::INTS);
  for (std::int64_t value : values) attribute.add_ints(value);
}

void erase_attribute(NodeProto& node, const std::string& name) {
  erase_if(*node.mutable_attribute(), [&](const AttributeProto& attribute) { return attribute.name() == name; });
}

void replace_uses(const GraphIndex& index, const std::string& from, const std::string& to) {
  for (NodeProto* node : index.consumers(from))
    for (std::string& input : *node->mutable_input())
      if (input == from) input = to;
}

void erase_nodes(GraphProto& graph, const std::unordered_set<const NodeProto*>& nodes) {
  erase_if(*graph.mutable_node(), [&](const NodeProto& node) { return nodes.contains(&node); });
}

void erase_unused(GraphProto& graph) {
  std::unordered_set<std::string> used, made;
  for (const NodeProto& node : graph.node()) {
    used.insert(node.input().begin(), node.input().end());
    made.insert(node.output().begin(), node.output().end());
  }
  for (const auto& output : graph.output()) used.insert(output.name());
  erase_if(*graph.mutable_initializer(), [&](const TensorProto& tensor) { return !used.contains(tensor.name()); });
  erase_if(*graph.mutable_value_info(), [&](const onnx::ValueInfoProto& value) {
    return !used.contains(value.name()) || !made.contains(value.name());
  });
}

void erase_dead_nodes(GraphProto& graph) {
  std::unordered_set<std::string> wanted;
  std::unordered_set<const NodeProto*> dead;
  for (const auto& output : graph.output()) wanted.insert(output.name());
  for (int i = graph.node_size() - 1; i >= 0; --i) {  // nodes come in the order of execution
    const NodeProto& node = graph.node(i);
    const bool alive = std::any_of(node.output().begin(), node.output().end(),
                                   [&](const std::string& output) { return wanted.contains(output); });
    if (alive) {
      wanted.insert(node.input().begin(), node.input().end());
    } else {
      dead.insert(&node);
    }
  }
  erase_nodes(graph, dead);
  erase_unused(graph);
}

onnx::NodeProto make_cast(const std::string& from, const std::string& to, int type) {
  onnx::NodeProto cast;
  cast.set_op_type("Cast");
  cast.set_name(to + ".cast");
  cast.add_input(from);
  cast.add_output(to);
  set_attribute(cast, "to", static_cast<std::int64_t>(type));
  return cast;
}

}  // namespace ferry
