// Types and shapes of every value in a model, by libonnx's shape inference.
#pragma once

#include <onnx/onnx_pb.h>

#include <map>
#include <string>

namespace ferry {

/// The model without its large weights (they become inputs of the same type), with a description of every value that
/// could be inferred in `graph.value_info`. Throws Error(kOnnx) naming the node where types or shapes contradict.
/// With `strict` false, contradictions leave the values concerned without a shape instead.
/// REQUIRES: nodes that pass the ONNX checker.
onnx::ModelProto infer_types(const onnx::ModelProto& model, const std::string& name, bool strict = true);

/// Types by value: of inputs, outputs and everything in `value_info`. The pointers live as long as `inferred`.
std::map<std::string, const onnx::TypeProto*> types_of(const onnx::ModelProto& inferred);

}  // namespace ferry
