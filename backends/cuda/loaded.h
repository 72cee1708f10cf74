// The kernel on a GPU, ready to be launched.
#pragma once

#include "cuda/program.h"
#include "cuda_support/devices.h"
#include "cuda_support/kernels.h"

namespace ferry::latency {

/// A launch begins in memory with the counters by which the blocks meet; the activations follow.
inline constexpr std::size_t kCounterBytes = kShards * kShardStride * sizeof(unsigned);

/// In the context that was current when it was made.
class LoadedKernel {
 public:
  /// Throws nvinfer::Failure where the kernel does not fit on the GPU.
  LoadedKernel(const cuda::DeviceInfo& device, bool int8);

  CUfunc_st* function() const noexcept { return function_; }
  /// One block a multiprocessor, all at the same time: they wait for each other.
  const cuda::Launch& launch() const noexcept { return launch_; }

 private:
  cuda::Kernels kernels_;
  CUfunc_st* function_;
  cuda::Launch launch_;
};

/// Bytes of what tells the copy engine of compute capability 9.0 and later where each convolution's activations lie.
std::size_t maps_bytes(const Program& program);
/// Writes it to `to` (on the host) for activations at `arena` (on the device). Throws cuda::Error.
void write_maps(const Program& program, char* arena, char* to);

}  // namespace ferry::latency
