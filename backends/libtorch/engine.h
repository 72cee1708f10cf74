// An opened network, and the sessions that run it.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "libtorch/network.h"
#include "module/module.h"

namespace ferry::libtorch {

struct Options {
  int device = 0, threads = 0, height = 224, width = 224;
  bool fp16 = false, capture = false, prefer_cpu = false;

  static Options parse(const char* json);
};

}  // namespace ferry::libtorch

struct ferry_engine {
  ferry_engine(const ferry_open_args& args, const ferry::libtorch::Options& options);
  nlohmann::json describe() const;
  std::vector<std::int64_t> input_shape(std::int64_t batch) const;
  std::vector<std::int64_t> output_shape(std::int64_t batch) const { return {batch, architecture.num_classes}; }

  ferry::libtorch::Options options;
  ferry::libtorch::Architecture architecture;
  ferry::libtorch::Placement placement;
  ferry::libtorch::Network network;
  ferry_log log;
};

/// One stream of requests, on the CPU or on a GPU.
struct ferry_session {
  virtual ~ferry_session() = default;
  virtual void staging(std::int64_t batch, void** inputs, void** outputs) = 0;
  virtual void submit(const ferry_run_args& args) = 0;
  virtual ferry_times wait() = 0;
};

namespace ferry::libtorch {

std::unique_ptr<ferry_session> make_cpu_session(const ferry_engine& engine);

#if FERRY_TORCH_CUDA
std::unique_ptr<ferry_session> make_cuda_session(const ferry_engine& engine);
/// Settings of the process for a reference: FP32 without TF32, the fastest cuDNN algorithm. Throws Failure if PyTorch
/// sees no such GPU.
void prepare_cuda(int device);
nlohmann::json describe_gpu(int device);
ferry_telemetry gpu_telemetry(int device);
#endif

}  // namespace ferry::libtorch
