// What the copy engine of compute capability 9.0 and later is told about a convolution's activations.
#pragma once

#include "cuda/phases.h"
#include "cuda_support/tensor_map.h"

namespace ferry::latency {

/// Boxes of 64 channels of some pixels, of a convolution other than the stem; its address is left to the session. The
/// kernel asks for `strided(conv) ? 4 : 3` coordinates, and the map must have as many dimensions: a map of another
/// number is an illegal instruction.
cuda::TensorMap boxes_of(const ConvDesc& conv);

/// Why the copy engine would refuse what the kernel asks of it for this convolution, or null.
const char* boxes_refused(const ConvDesc& conv);

}  // namespace ferry::latency
