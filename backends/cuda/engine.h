// A plan opened on a GPU: weights and tables of phases in its memory, shared by all sessions.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cuda/loaded.h"
#include "cuda/plan_file.h"
#include "cuda_support/memory.h"
#include "nvinfer/gpu_engine.h"

namespace ferry::latency {

class Engine final : public nvinfer::GpuEngine {
 public:
  explicit Engine(const ferry_open_args& args);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() override;

  const std::vector<nvinfer::Port>& inputs() const override { return inputs_; }
  const std::vector<nvinfer::Port>& outputs() const override { return outputs_; }
  const std::vector<nvinfer::Profile>& profiles() const override { return plan_.profiles; }
  std::size_t arena_bytes() const override;
  std::unique_ptr<nvinfer::Executor> make_executor(void* arena, std::size_t arena_bytes) override;

  const cuda::Context& context() const noexcept override { return *context_; }
  const cuda::DeviceInfo& device() const noexcept override { return device_; }
  const nvinfer::OpenOptions& options() const noexcept override { return options_; }
  std::string sdk_version() const override;
  std::size_t weights_bytes() const noexcept override { return weights_.size() + tables_.size(); }
  std::string layers_json() const override;
  nvinfer::Proof proof() const override;
  cuda::Telemetry telemetry() const override { return nvml_->now(); }
  void say(int severity, const std::string& line) const override;

  /// What a launch for this batch needs, but for the session's own addresses.
  Net net_for(std::int64_t batch) const;
  const Program& program_for(std::int64_t batch) const { return table_for(batch).program; }
  bool runs_in_clusters(std::int64_t batch) const { return program_for(batch).exchange_bytes > 0; }
  const LoadedKernel& kernel() const noexcept { return *kernel_; }

 private:
  struct Table {
    Program program;
    std::size_t phases = 0, convs = 0;  // byte offsets in tables_
  };
  const Table& table_for(std::int64_t batch) const;
  void upload();

  nvinfer::OpenOptions options_;
  ferry_log log_;
  mutable std::mutex log_mutex_;
  Plan plan_;
  cuda::DeviceInfo device_;
  std::optional<cuda::NvmlDevice> nvml_;
  std::optional<cuda::Context> context_;
  std::optional<LoadedKernel> kernel_;
  std::vector<Table> batches_;  // as plan_.batches
  cuda::DeviceBuffer weights_, tables_;
  std::vector<nvinfer::Port> inputs_, outputs_;
};

}  // namespace ferry::latency
