// Build options checked against the machine and the model, and turned into the SDK's builder configuration.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cuda_support/devices.h"
#include "nvinfer/library.h"
#include "nvinfer/options.h"

namespace ferry::nvinfer {

/// Where the engine will run, and where it is built.
struct BuildPlace {
  std::optional<cuda::DeviceInfo> gpu;  // the GPU of this machine that takes part in the build
  std::string no_gpu_reason;
  std::vector<int> capabilities;  // to build for, 89 for "8.9"; empty: the SDK decides by the GPU
  bool runs_here = false;         // the GPU can open the result
};

/// Throws Failure (FERRY_UNSUPPORTED) for a target that the SDK, or a build on this machine, cannot serve.
BuildPlace decide_place(const Library& library, const BuildOptions& options);

/// The workspace limit in bytes: what was asked, but at most 80 % of the free memory of the GPU (current context);
/// empty leaves the SDK's own default, without a GPU.
std::optional<std::size_t> workspace(const BuildOptions& options, bool on_gpu);

/// Effort and sources of kernels: optimisation level, tactic sources, auxiliary streams, timing; and whether weights
/// may stay in host memory. Throws Failure naming the sources there are, or for weights that the SDK cannot stream.
void set_effort(nvinfer1::IBuilderConfig& config, const BuildOptions& options);

/// Adds one optimisation profile for each batch range. Throws Failure for a graph whose inputs do not fit them.
void add_profiles(nvinfer1::IBuilder& builder, const nvinfer1::INetworkDefinition& network,
                  nvinfer1::IBuilderConfig& config, const std::vector<Profile>& profiles);

}  // namespace ferry::nvinfer
