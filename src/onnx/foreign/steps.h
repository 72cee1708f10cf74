// The steps of prepare_foreign, in their order. Each says in `changes` what it rewrote, for people, and throws
// Error(kOnnx) naming the node, input or output that it cannot handle.
#pragma once

#include <onnx/onnx_pb.h>

#include <string>
#include <vector>

namespace ferry {

using Changes = std::vector<std::string>;

/// Refuses what no later step can see into: model-local functions, operators of other vendors, control flow.
void refuse_strange_parts(const onnx::ModelProto& model);

/// Turns whatever can be computed without an input (Constant, Shape of a known shape, their Concat, Gather, ...) into
/// weights, and removes nodes that do nothing (Identity, Dropout).
void fold_constants(onnx::GraphProto& graph, Changes& changes);

/// Rewrites the model to kOnnxOpset, operator by operator. A model from 11 to 17 with an operator whose meaning changed
/// keeps its version; a newer one is refused.
void convert_opset(onnx::ModelProto& model, Changes& changes);

/// One image input [N,C,H,W] in float and one output. An input [N,H,W,C] that is transposed at once becomes [N,C,H,W].
void settle_ports(onnx::GraphProto& graph, Changes& changes);

/// Makes the first dimension of input and output dynamic ("N"), where the nodes between allow it.
void free_batch(onnx::ModelProto& model, const std::string& name, Changes& changes);

/// Gives every node a name of its own: errors, reports and engines name nodes.
void name_nodes(onnx::GraphProto& graph, Changes& changes);

}  // namespace ferry
