// One session's launches of the kernel.
#pragma once

#include <vector>

#include "cuda/loaded.h"
#include "cuda_support/kernels.h"
#include "cuda_support/memory.h"
#include "nvinfer/network.h"

namespace ferry::latency {

class Engine;

class Executor final : public nvinfer::Executor {
 public:
  /// The engine and the arena must outlive this.
  Executor(const Engine& engine, void* arena);
  Executor(const Executor&) = delete;

  void bind(int profile, std::int64_t batch, const std::vector<void*>& inputs, const std::vector<void*>& outputs,
            CUstream_st* stream) override;
  void enqueue(CUstream_st* stream) override;
  bool capturable(CUstream_st*) const override { return true; }
  /// Throws if the watchdog fired, and makes the next launch possible.
  void finish() override;

  /// For tests that stop after a phase: what the next launch gets.
  Net& net() noexcept { return net_; }

 private:
  void forget_meetings() const;
  void describe_to_copy_engine(std::int64_t batch);

  const Engine& engine_;
  char* arena_;
  double watchdog_seconds_;
  cuda::PinnedBuffer failed_;  // the kernel writes here only when it gives up
  cuda::PinnedBuffer maps_;    // one for each convolution, for the copy engine of compute capability 9.0 and later
  cuda::DeviceBuffer device_maps_;
  CUstream_st* stream_ = nullptr;
  Net net_{};
  void* arguments_[1] = {&net_};
};

}  // namespace ferry::latency
