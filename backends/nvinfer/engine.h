// A plan opened on a GPU: what sessions share.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "nvinfer/gpu_engine.h"
#include "nvinfer/library.h"
#include "nvinfer/logger.h"

namespace ferry::nvinfer {

class Engine final : public GpuEngine {
 public:
  /// Checks the plan's header, the GPU, then deserialises. Throws Failure or cuda::Error.
  Engine(const void* plan, std::size_t size, const OpenOptions& options, const ferry_log& log);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() override;

  const std::vector<Port>& inputs() const override { return inputs_; }
  const std::vector<Port>& outputs() const override { return outputs_; }
  const std::vector<Profile>& profiles() const override { return profiles_; }
  std::size_t arena_bytes() const override;
  std::unique_ptr<Executor> make_executor(void* arena, std::size_t arena_bytes) override;

  const cuda::Context& context() const noexcept override { return *context_; }
  const cuda::DeviceInfo& device() const noexcept override { return device_; }
  const OpenOptions& options() const noexcept override { return options_; }
  std::string sdk_version() const override;
  std::size_t weights_bytes() const noexcept override { return weights_bytes_; }
  std::optional<WeightStreaming> weight_streaming() const noexcept override { return weight_streaming_; }
  std::string layers_json() const override;  // the inspector's
  Proof proof() const override { return count_layers(layers_json()); }
  cuda::Telemetry telemetry() const override;
  void say(int severity, const std::string& line) const override { listener_.say(severity, line); }

 private:
  friend class SdkExecutor;
  void pick_device();
  void deserialise(const void* plan, std::size_t size);
  void place_weights();
  void read_ports();
  void read_profiles();
  Port read_port(const char* name) const;
  Failure failure(const std::string& what) const;

  const Library& library_;
  OpenOptions options_;
  mutable Listener listener_;
  cuda::DeviceInfo device_;
  mutable std::once_flag nvml_opened_;  // opened when somebody asks: it takes longer than a small network
  mutable std::optional<cuda::NvmlDevice> nvml_;
  std::optional<cuda::Context> context_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<sdk::ContextFactory> contexts_;
  std::mutex contexts_mutex_;
  std::vector<Port> inputs_, outputs_;
  std::vector<Profile> profiles_;
  std::size_t weights_bytes_ = 0;
  std::optional<WeightStreaming> weight_streaming_;
};

}  // namespace ferry::nvinfer
