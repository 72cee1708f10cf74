// What a node gives whose inputs are all known: for the small sums about shapes that exporters write into graphs.
#pragma once

#include <onnx/onnx_pb.h>

#include <optional>
#include <string>
#include <unordered_map>

namespace ferry {

using Weights = std::unordered_map<std::string, const onnx::TensorProto*>;

/// Nothing if an input is not among `weights`, or if the operator or its size is beyond what this computes.
std::optional<onnx::TensorProto> evaluate(const onnx::NodeProto& node, const Weights& weights);

}  // namespace ferry
