// Layers that are not quantised, in FP16 amid float32 values.
#pragma once

#include <onnx/onnx_pb.h>

#include <string>
#include <vector>

namespace ferry {

/// Gives these convolutions and matrix products FP16 weights, with Casts around them. One whose weights FP16 cannot
/// hold stays float32. Returns those that are FP16 now.
std::vector<std::string> keep_in_half(onnx::GraphProto& graph, const std::vector<std::string>& nodes);

}  // namespace ferry
