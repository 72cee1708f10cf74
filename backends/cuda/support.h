// What the module is.
#pragma once

#include "cuda/layers.h"
#include "cuda_support/kernels.h"
#include "nvinfer/proof.h"

namespace ferry::cuda {
KernelImage kernels_resnet();  // resnet.cu
}

namespace ferry::latency {

inline constexpr const char* kDisplayName = "ferry latency engine";
inline constexpr const char* kVersion = FERRY_VERSION;

/// "Int8" or "Half": what a layer multiplies. The first convolution, the average and the classifier of an INT8 network
/// stay in FP16.
const char* precision_of(const Layers& layers, const Layer& layer);

/// What the layers with weights compute in.
nvinfer::Proof proof_of(const Layers& layers);

}  // namespace ferry::latency
