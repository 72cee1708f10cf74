// Which GPU a plan is made for: one that is here, or one that is named by its compute capability.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cuda/tiles.h"
#include "cuda_support/devices.h"

namespace ferry::latency {

struct Target {
  std::string gpu, compute_capability, driver;  // gpu and driver are empty where the GPU is not here
  Machine machine;
  std::optional<cuda::DeviceInfo> device;  // the GPU, where it is here
};

/// The kernels need the tensor-core instructions and asynchronous copies of Ampere.
bool runs_on(const cuda::DeviceInfo& device);

/// Plans for `targets` ("8.9"; at most one), or for this machine's GPU number `device` if there are none. Throws
/// nvinfer::Failure (FERRY_UNSUPPORTED).
Target pick_target(const std::vector<std::string>& targets, int device);

/// Device number `index` of this machine. Throws nvinfer::Failure (FERRY_UNSUPPORTED) if there is none or the kernels
/// cannot run on it.
cuda::DeviceInfo pick_device(int index);

}  // namespace ferry::latency
