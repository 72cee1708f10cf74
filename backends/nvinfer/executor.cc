#include "nvinfer/executor.h"

#include <algorithm>

#include "nvinfer/inspector.h"

namespace ferry::nvinfer {
namespace {

// Collects what the SDK reports of one run, in the order in which it does.
class LayerTimes final : public nvinfer1::IProfiler {
 public:
  void reportLayerTime(const char* layer, float ms) noexcept override {
    try {
      run.push_back({layer == nullptr ? "" : layer, ms});
    } catch (...) {  // no exception may enter the SDK; a run that lacks a layer is left out of the medians
      run.clear();
    }
  }
  std::vector<LayerSample> run;
};

}  // namespace

void SdkExecutor::set_shape(const Port& port, std::int64_t batch) {
  nvinfer1::Dims dims{};
  dims.nbDims = static_cast<int32_t>(port.shape.size());
  std::copy(port.shape.begin(), port.shape.end(), dims.d);
  dims.d[0] = batch;
  if (!context_->setInputShape(port.name.c_str(), dims)) throw engine_.failure("take an input shape");
}

void SdkExecutor::set_address(const Port& port, void* address) {
  if (!context_->setTensorAddress(port.name.c_str(), address)) throw engine_.failure("take a tensor's address");
}

void SdkExecutor::bind(int profile, std::int64_t batch, const std::vector<void*>& inputs,
                       const std::vector<void*>& outputs, CUstream_st* stream) {
  if (!context_->setOptimizationProfileAsync(profile, stream)) throw engine_.failure("select an optimisation profile");
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    set_shape(engine_.inputs()[i], batch);
    set_address(engine_.inputs()[i], inputs[i]);
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) set_address(engine_.outputs()[i], outputs[i]);
}

void SdkExecutor::enqueue(CUstream_st* stream) {
  if (!context_->enqueueV3(stream)) throw engine_.failure("run the network");
}

std::vector<std::vector<LayerSample>> SdkExecutor::time_layers(CUstream_st* stream, int runs) {
  std::vector<std::vector<LayerSample>> all;
  LayerTimes watch;
  context_->setProfiler(&watch);  // with it, enqueueing reports before it returns
  try {
    for (int i = 0; i < runs; ++i) {
      watch.run.clear();
      enqueue(stream);
      all.push_back(watch.run);
    }
  } catch (...) {
    context_->setProfiler(nullptr);
    throw;
  }
  context_->setProfiler(nullptr);
  return all;
}

// What the inspector says of the whole engine: asked about a context, that of TensorRT 10.6 fails an assertion where
// there are several profiles. The layers of each profile have names of their own.
std::string SdkExecutor::layers_json() const { return inspector_json(*engine_.engine_); }

}  // namespace ferry::nvinfer
