// Adding nodes to a finished graph.
#pragma once

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <string>
#include <vector>

namespace ferry {

/// Appends a node called `name` that makes a value of that name.
inline onnx::NodeProto& append_node(onnx::GraphProto& graph, const char* op, const std::string& name,
                                    const std::vector<std::string>& inputs) {
  onnx::NodeProto& node = *graph.add_node();
  node.set_op_type(op);
  node.set_name(name);
  for (const std::string& input : inputs) node.add_input(input);
  node.add_output(name);
  return node;
}

/// Moves the last `count` nodes to the front: nodes stand in the order of execution.
inline void move_to_front(onnx::GraphProto& graph, int count) {
  auto& nodes = *graph.mutable_node();
  std::rotate(nodes.pointer_begin(), nodes.pointer_end() - count, nodes.pointer_end());
}

}  // namespace ferry
