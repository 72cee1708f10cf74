// The SDK's execution context as an Executor.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nvinfer/engine.h"

namespace ferry::nvinfer {

class SdkExecutor final : public Executor {
 public:
  SdkExecutor(Engine& engine, std::unique_ptr<nvinfer1::IExecutionContext> context)
      : engine_(engine), context_(std::move(context)) {}

  void bind(int profile, std::int64_t batch, const std::vector<void*>& inputs, const std::vector<void*>& outputs,
            CUstream_st* stream) override;
  void enqueue(CUstream_st* stream) override;
  bool capturable(CUstream_st* stream) const override { return sdk::capturable(*context_, stream); }
  std::vector<std::vector<LayerSample>> time_layers(CUstream_st* stream, int runs) override;
  std::string layers_json() const override;

 private:
  void set_shape(const Port& port, std::int64_t batch);
  void set_address(const Port& port, void* address);
  Engine& engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

}  // namespace ferry::nvinfer
