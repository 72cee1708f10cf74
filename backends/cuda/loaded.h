// The kernel on a GPU, ready to be launched.
#pragma once

#include "cuda/program.h"
#include "cuda_support/devices.h"
#include "cuda_support/kernels.h"

namespace ferry::latency {

/// A launch begins in memory with the counters by which the blocks meet; the activations follow.
inline constexpr std::size_t kCounterBytes = kShards * kShardStride * sizeof(unsigned);

/// The name of a kernel in the module.
const char* kernel_name(bool int8, bool in_clusters);

/// In the context that was current when it was made.
class LoadedKernel {
 public:
  /// Throws nvinfer::Failure where the kernel does not fit on the GPU.
  LoadedKernel(const cuda::DeviceInfo& device, bool int8);

  /// Clusters of kCluster blocks that run at the same time; 0 where the GPU has none.
  int clusters() const noexcept { return clusters_; }
  /// The kernel without chains, or that with them, which runs in clusters.
  CUfunc_st* function(bool in_clusters) const noexcept { return in_clusters ? chained_ : function_; }
  /// One block a multiprocessor, all at the same time: they wait for each other. In clusters: on the multiprocessors
  /// that form some.
  cuda::Launch launch(bool in_clusters) const noexcept;

 private:
  cuda::Kernels kernels_;
  CUfunc_st *function_, *chained_;
  cuda::Launch launch_;
  int clusters_ = 0;
};

/// Bytes of what tells the copy engine of compute capability 9.0 and later where each convolution's activations lie.
std::size_t maps_bytes(const Program& program);
/// Writes it to `to` (on the host) for activations at `arena` (on the device). Throws cuda::Error.
void write_maps(const Program& program, char* arena, char* to);

}  // namespace ferry::latency
