// Who makes and who uses each value of a graph, for the passes that rewrite it.
#pragma once

#include <onnx/onnx_pb.h>

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace ferry {

/// A picture of a graph at one moment: after adding or erasing nodes, values or weights, make a new one. Pointers stay
/// valid until something is erased. Throws Error(kOnnx) for graphs with nested graphs (If, Loop, Scan), whose nodes see
/// values of the outer graph: no pass looks into them.
class GraphIndex {
 public:
  explicit GraphIndex(onnx::GraphProto& graph);

  onnx::NodeProto* producer(const std::string& value) const;  // nullptr for inputs, weights and unknown values
  const std::vector<onnx::NodeProto*>& consumers(const std::string& value) const;  // one entry a use
  onnx::TensorProto* weight(const std::string& value) const;                       // nullptr if it is no initialiser
  bool is_output(const std::string& value) const { return outputs_.contains(value); }
  /// Is there anything of that name: input, weight or value?
  bool knows(const std::string& value) const;
  /// `wanted`, or `wanted_2`, ... if that is taken.
  std::string unused_name(const std::string& wanted) const;

 private:
  std::unordered_map<std::string, onnx::NodeProto*> producers_;
  std::unordered_map<std::string, std::vector<onnx::NodeProto*>> consumers_;
  std::unordered_map<std::string, onnx::TensorProto*> weights_;
  std::unordered_set<std::string> inputs_, outputs_;
};

/// "layer1.0.conv1 (Conv)"; unnamed nodes are called by their first output.
std::string describe(const onnx::NodeProto& node);

const onnx::AttributeProto* find_attribute(const onnx::NodeProto& node, const std::string& name);
std::int64_t int_attribute(const onnx::NodeProto& node, const std::string& name, std::int64_t fallback);
float float_attribute(const onnx::NodeProto& node, const std::string& name, float fallback);
void set_attribute(onnx::NodeProto& node, const std::string& name, std::int64_t value);
void set_attribute(onnx::NodeProto& node, const std::string& name, float value);
void set_attribute(onnx::NodeProto& node, const std::string& name, const std::vector<std::int64_t>& values);

/// A Cast of the value `from` into the new value `to`; `type` is a TensorProto's data type.
onnx::NodeProto make_cast(const std::string& from, const std::string& to, int type);
void erase_attribute(onnx::NodeProto& node, const std::string& name);

/// Makes every use of `from` (graph outputs excepted) a use of `to`.
void replace_uses(const GraphIndex& index, const std::string& from, const std::string& to);
/// Erases nodes, keeping the order of the others.
void erase_nodes(onnx::GraphProto& graph, const std::unordered_set<const onnx::NodeProto*>& nodes);
/// Erases weights and value descriptions that nothing uses any more.
void erase_unused(onnx::GraphProto& graph);
/// Erases nodes that contribute to no output of the graph, then does erase_unused.
void erase_dead_nodes(onnx::GraphProto& graph);

}  // namespace ferry
