// TensorRT for RTX: what nvinfer/ needs to know of it alone.
#pragma once

#include <NvInfer.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace ferry::nvinfer::sdk {

inline constexpr bool kRtx = true;
inline constexpr const char* kName = "tensorrt_rtx";
inline constexpr const char* kDisplayName = "TensorRT for RTX";
inline constexpr const char* kVariable = "FERRY_TENSORRT_RTX_DIR";
inline constexpr const char* kPackageFolder = "tensorrt_rtx_libs";
inline constexpr const char* kLibrary = "libtensorrt_rtx.so.1";
inline constexpr const char* kParserLibrary = "libtensorrt_onnxparser_rtx.so.1";
/// INT8 graphs are accepted, but the documentation lists no INT8 convolution on Ada: full TensorRT is for those.
inline constexpr const char* kPrecisions = R"(["fp32","fp16"])";

/// Its builder refuses kWEIGHT_STREAMING beside kREQUIRE_USER_ALLOCATION (set_capture_flags).
inline constexpr bool kStreamsWeights = false;

inline std::string remedy() {
  const std::string version = std::to_string(NV_TENSORRT_MAJOR) + "." + std::to_string(NV_TENSORRT_MINOR) + "." +
                              std::to_string(NV_TENSORRT_PATCH) + "." + std::to_string(NV_TENSORRT_BUILD);
  return "python3 -m pip install --user tensorrt-rtx-cu13-libs==" + version +
         " (or set FERRY_TENSORRT_RTX_DIR to an SDK, or run setup/install in ferry's source)";
}

/// The compute capabilities that engines can be built for and run on, as the SDK's enum lists them.
inline constexpr std::array kCapabilities = {75, 80, 86, 89, 120, 121};

/// Builds for these (each must be in kCapabilities). False if the SDK refuses.
inline bool set_targets(nvinfer1::IBuilderConfig& config, const std::vector<int>& capabilities) {
  bool accepted = config.setNbComputeCapabilities(static_cast<int32_t>(capabilities.size()));
  for (std::size_t i = 0; i < capabilities.size(); ++i) {
    const auto capability = static_cast<nvinfer1::ComputeCapability>(capabilities[i]);
    accepted = accepted && config.setComputeCapability(capability, static_cast<int32_t>(i));
  }
  return accepted;
}

/// Sessions capture CUDA graphs and bring their own memory: an engine that could not would fail at run time only.
inline void set_capture_flags(nvinfer1::IBuilderConfig& config) {
  config.setFlag(nvinfer1::BuilderFlag::kREQUIRE_USER_ALLOCATION);
}

/// What contexts of one engine share: kernels are compiled on the user's machine, once an engine thanks to the cache.
class ContextFactory {
 public:
  explicit ContextFactory(nvinfer1::ICudaEngine& engine) : engine_(engine), config_(engine.createRuntimeConfig()) {
    if (config_ == nullptr) return;
    config_->setExecutionContextAllocationStrategy(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
    // Sessions capture graphs themselves. A graph would freeze the fallback kernels that the lazy strategy starts with,
    // so kernels are compiled for the batch size before its first request ends.
    config_->setCudaGraphStrategy(nvinfer1::CudaGraphStrategy::kDISABLED);
    config_->setDynamicShapesKernelSpecializationStrategy(nvinfer1::DynamicShapesKernelSpecializationStrategy::kEAGER);
    cache_.reset(config_->createRuntimeCache());
    if (cache_ != nullptr) config_->setRuntimeCache(*cache_);
  }
  nvinfer1::IExecutionContext* create() {
    return config_ == nullptr ? nullptr : engine_.createExecutionContext(config_.get());
  }

 private:
  nvinfer1::ICudaEngine& engine_;
  std::unique_ptr<nvinfer1::IRuntimeCache> cache_;  // outlives the configuration that refers to it
  std::unique_ptr<nvinfer1::IRuntimeConfig> config_;
};

inline bool capturable(const nvinfer1::IExecutionContext& context, cudaStream_t stream) {
  return context.isStreamCapturable(stream);
}

/// The timing cache is a no-op in this SDK: no tactics are timed when building.
class TimingCache {
 public:
  bool load(nvinfer1::IBuilderConfig&, const void*, std::size_t) { return true; }
  std::unique_ptr<nvinfer1::IHostMemory> save(nvinfer1::IBuilderConfig&) const { return nullptr; }
};

}  // namespace ferry::nvinfer::sdk
