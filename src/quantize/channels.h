// Weights seen by input channel: what equalisation scales and bias correction sums over.
#pragma once

#include <onnx/onnx_pb.h>

#include <functional>

namespace ferry {

/// Calls visit(output channel, input channel, element index) for every element of the weight of a Conv (any group),
/// Gemm or MatMul.
template <typename Visit>
void for_each_weight(const onnx::TensorProto& weight, std::int64_t groups, int output_axis, const Visit& visit) {
  if (weight.dims_size() == 2) {
    const std::int64_t rows = weight.dims(0), columns = weight.dims(1);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c)
        output_axis == 0 ? visit(r, c, r * columns + c) : visit(c, r, r * columns + c);
    return;
  }
  const std::int64_t outputs = weight.dims(0), inputs = weight.dims(1);
  std::int64_t taps = 1;
  for (int d = 2; d < weight.dims_size(); ++d) taps *= weight.dims(d);
  std::int64_t element = 0;
  for (std::int64_t o = 0; o < outputs; ++o) {
    const std::int64_t first = o / (outputs / groups) * inputs;  // of this group's input channels
    for (std::int64_t i = 0; i < inputs; ++i)
      for (std::int64_t t = 0; t < taps; ++t) visit(o, first + i, element++);
  }
}

/// Input channels of the whole operator.
inline std::int64_t input_channels(const onnx::TensorProto& weight, std::int64_t groups, int output_axis) {
  return weight.dims_size() == 2 ? weight.dims(1 - output_axis) : weight.dims(1) * groups;
}

}  // namespace ferry
