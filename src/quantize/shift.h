// Which activations that cannot be negative use all 256 values of int8.
//
// TensorRT takes int8 with zero point 0 only, so behind relu 128 values are of no use. But (x - 128 steps) is signed: q
// = -128 is x = 0. The constant goes into the biases of what writes x and of what reads it, and rounding to int8 ends
// at -128, so that the relu itself is no longer needed: neither costs an operator.
#pragma once

#include <string>
#include <unordered_map>

#include "ferry/quantize.h"
#include "quantize/layers.h"

namespace ferry {

struct Shift {
  std::string made;   // the value of the graph that is quantised in the tensor's place, shifted already,
  std::string value;  // or from which the constant is subtracted, and what that gives
  std::string relu;   // the output of the relu that goes, and its input; empty: none goes
  std::string relu_from;
  std::string writer;  // the layer (its node's name) whose bias takes the constant off; empty: it is subtracted
};

/// By tensor, those whose rounding counts: the outputs of residual blocks, what the global average pooling gives (a few
/// thousand values, from which the constant is subtracted) and, if `which` says so, what a max pooling behind the stem
/// gives. Each is behind relu and has no readers but layers of the plan with a bias and without padding (a padded zero
/// would be no zero) and additions that such a layer fuses with.
std::unordered_map<std::string, Shift> find_shifts(const GraphIndex& index, const onnx::GraphProto& graph,
                                                   const LayerPlan& plan, FullRange which);

/// Whether few of the values lie in the upper half of `range`. x86 processors without VNNI add up pairs of products of
/// bytes in 16 bits, which two large values beside each other with large weights overflow; behind relu that is rare
/// (below 1 % of a trained network's values lie there), and where it is not, 127 steps that cannot overflow are the
/// better choice.
bool fits_full_range(const TensorStatistics& statistics, double range);

}  // namespace ferry
