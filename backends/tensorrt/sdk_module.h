// TensorRT 10 and 11: what nvinfer/ needs to know of them alone.
#pragma once

#include <NvInfer.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#define FERRY_TEXT_(x) #x
#define FERRY_TEXT(x) FERRY_TEXT_(x)

namespace ferry::nvinfer::sdk {

inline constexpr bool kRtx = false;
inline constexpr const char* kName = "tensorrt";
inline constexpr const char* kDisplayName = "TensorRT";
inline constexpr const char* kVariable = "FERRY_TENSORRT_DIR";
inline constexpr const char* kPackageFolder = "tensorrt_libs";
inline constexpr const char* kLibrary = "libnvinfer.so." FERRY_TEXT(NV_TENSORRT_MAJOR);
inline constexpr const char* kParserLibrary = "libnvonnxparser.so." FERRY_TEXT(NV_TENSORRT_MAJOR);
inline constexpr const char* kPrecisions = R"(["fp32","fp16","bf16","int8"])";

inline constexpr bool kStreamsWeights = true;

inline std::string remedy() {
  const std::string minor = std::to_string(NV_TENSORRT_MAJOR) + "." + std::to_string(NV_TENSORRT_MINOR);
  return std::string("python3 -m pip install --user '") + (NV_TENSORRT_MAJOR < 11 ? "tensorrt-cu12" : "tensorrt-cu13") +
         "==" + minor + ".*' (or set FERRY_TENSORRT_DIR to an SDK of version " + minor +
         "; for another version configure ferry with -DFERRY_TENSORRT_INCLUDE_DIR=<its include folder>)";
}

/// Every GPU that the driver lists is tried: the SDK itself says if it has no kernels for one.
inline constexpr std::array<int, 0> kCapabilities = {};

inline bool set_targets(nvinfer1::IBuilderConfig&, const std::vector<int>&) { return true; }
inline void set_capture_flags(nvinfer1::IBuilderConfig&) {}

class ContextFactory {
 public:
  explicit ContextFactory(nvinfer1::ICudaEngine& engine) : engine_(engine) {}
  nvinfer1::IExecutionContext* create() {
    return engine_.createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
  }

 private:
  nvinfer1::ICudaEngine& engine_;
};

/// Asked by no version of this SDK: what cannot be captured fails in the capture.
inline bool capturable(const nvinfer1::IExecutionContext&, cudaStream_t) { return true; }

/// What was measured about kernels, kept so that a second build of a similar network is quick.
class TimingCache {
 public:
  /// False if `blob` belongs to another GPU or SDK; an empty cache is used then.
  bool load(nvinfer1::IBuilderConfig& config, const void* blob, std::size_t size) {
    if (size > 0) {
      cache_.reset(config.createTimingCache(blob, size));
      if (cache_ != nullptr && config.setTimingCache(*cache_, false)) return true;
    }
    cache_.reset(config.createTimingCache(nullptr, 0));
    if (cache_ != nullptr) config.setTimingCache(*cache_, false);
    return size == 0;
  }
  std::unique_ptr<nvinfer1::IHostMemory> save(nvinfer1::IBuilderConfig& config) const {
    const nvinfer1::ITimingCache* cache = config.getTimingCache();
    return std::unique_ptr<nvinfer1::IHostMemory>(cache == nullptr ? nullptr : cache->serialize());
  }

 private:
  std::unique_ptr<nvinfer1::ITimingCache> cache_;
};

}  // namespace ferry::nvinfer::sdk
