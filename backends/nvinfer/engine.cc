#include "nvinfer/engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "cuda_support/error.h"
#include "nvinfer/executor.h"
#include "nvinfer/inspector.h"
#include "nvinfer/plan_header.h"
#include "nvinfer/translate.h"

namespace ferry::nvinfer {
namespace {

void check_header(const Library& library, const void* plan, std::size_t size) {
  if (plan == nullptr || size == 0)
    throw Failure("plan", "the plan is empty", "build it from its ONNX file (ferry build)");
  if constexpr (sdk::kRtx) {
    check_rtx_plan(plan, size, library.version);
  } else {
    check_tensorrt_plan(plan, size);
  }
}

// TensorRT for RTX lists what it runs on; saying so is better than its own message.
void check_supported(const Library& library, const cuda::DeviceInfo& device) {
  if (sdk::kCapabilities.empty()) return;
  const int capability = device.major * 10 + device.minor;
  if (std::find(sdk::kCapabilities.begin(), sdk::kCapabilities.end(), capability) != sdk::kCapabilities.end()) return;
  throw Failure(device.name, library.sdk_text() + " does not run on compute capability " + device.compute_capability(),
                "use full TensorRT on this GPU (backend tensorrt)", FERRY_UNSUPPORTED);
}

class Stopwatch {
 public:
  double lap_ms() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// NOLINTNEXTLINE(bugprone-incorrect-roundings)
std::string milliseconds(double value) { return std::to_string(static_cast<long>(value + 0.5)) + " ms"; }

}  // namespace

Engine::Engine(const void* plan, std::size_t size, const OpenOptions& options, const ferry_log& log)
    : library_(usable_library()), options_(options), listener_(log) {
  check_header(library_, plan, size);
  Stopwatch watch;
  pick_device();
  check_supported(library_, device_);
  context_.emplace(device_.index);
  const double context_ms = watch.lap_ms();
  const cuda::Current current(*context_);
  try {
    deserialise(plan, size);
    read_profiles();
    read_ports();
    listener_.say(2, "opening: the device's context took " + milliseconds(context_ms) + ", the plan " +
                         milliseconds(watch.lap_ms()));
  } catch (...) {
    engine_.reset();  // while the context is current
    runtime_.reset();
    throw;
  }
  listener_.forget();
}

Engine::~Engine() {
  try {
    const cuda::Current current(*context_);
    contexts_.reset();
    engine_.reset();
    runtime_.reset();
  } catch (const cuda::Error&) {  // a lost context: the members go without it
  }
}

cuda::Telemetry Engine::telemetry() const {
  std::call_once(nvml_opened_, [&] { nvml_.emplace(device_.uuid); });
  return nvml_->now();
}

void Engine::pick_device() {
  cuda::DeviceList list = cuda::devices();
  const auto index = static_cast<std::size_t>(options_.device);
  if (index < list.devices.size()) {
    device_ = std::move(list.devices[index]);
    return;
  }
  if (list.devices.empty()) {
    throw Failure("GPU", "a plan needs an NVIDIA GPU to run: " + list.reason, list.remedy, FERRY_UNSUPPORTED);
  }
  throw Failure(
      "device",
      "device " + std::to_string(index) + " was asked for, this machine has " + std::to_string(list.devices.size()),
      "devices are numbered from 0 (ferry doctor lists them)", FERRY_UNSUPPORTED);
}

Failure Engine::failure(const std::string& what) const {
  return translate({library_.sdk_text(), what, listener_.problems(), "", ""});
}

void Engine::deserialise(const void* plan, std::size_t size) {
  const std::size_t free_before = cuda::memory_info().free;
  runtime_.reset(library_.make_runtime());
  if (runtime_ == nullptr) throw failure("start its runtime");
  engine_.reset(runtime_->deserializeCudaEngine(plan, size));
  if (engine_ == nullptr) throw failure("open the plan");
  place_weights();
  const std::size_t free_after = cuda::memory_info().free;
  weights_bytes_ = free_before > free_after ? free_before - free_after : 0;
  contexts_ = std::make_unique<sdk::ContextFactory>(*engine_);
}

// Before any context: with one, the budget is fixed. Asked for nothing, the device keeps all weights, as it does those
// of every other plan.
void Engine::place_weights() {
  const std::int64_t streamable = engine_->getStreamableWeightsSize();
  if (streamable <= 0) {
    if (!options_.weight_budget_bytes) return;
    throw Failure("weight_budget_bytes", "the plan was built to keep all its weights on the device",
                  "leave the budget out (--weight-budget), or build again with --weight-streaming");
  }
  weight_streaming_ = {streamable, std::min(options_.weight_budget_bytes.value_or(streamable), streamable)};
  if (!engine_->setWeightStreamingBudgetV2(weight_streaming_->budget)) throw failure("place the weights");
}

void Engine::read_profiles() {
  using Selector = nvinfer1::OptProfileSelector;
  const char* input = nullptr;
  for (int32_t i = 0; i < engine_->getNbIOTensors() && input == nullptr; ++i) {
    const char* name = engine_->getIOTensorName(i);
    if (engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT) input = name;
  }
  if (input == nullptr) throw Failure("plan", "the plan has no input", "build it again from its ONNX file");
  for (int32_t i = 0; i < engine_->getNbOptimizationProfiles(); ++i) {
    const auto batch = [&](Selector which) { return engine_->getProfileShape(input, i, which).d[0]; };
    profiles_.push_back({batch(Selector::kMIN), batch(Selector::kOPT), batch(Selector::kMAX)});
  }
}

Port Engine::read_port(const char* name) const {
  const nvinfer1::Dims dims = engine_->getTensorShape(name);
  const nvinfer1::DataType type = engine_->getTensorDataType(name);
  Port port{name, sdk::onnx_type(type), {dims.d, dims.d + std::max(dims.nbDims, 0)}, sdk::bytes_of(type)};
  for (std::size_t i = 1; i < port.shape.size(); ++i) {
    if (port.shape[i] < 0) port.dtype = 0;
    port.row_bytes *= static_cast<std::size_t>(std::max<std::int64_t>(port.shape[i], 0));
  }
  if (port.dtype == 0 || port.shape.empty() || port.shape.size() > FERRY_MAX_RANK) {
    throw Failure(port.name,
                  "ferry cannot feed tensor '" + port.name + "' of this plan: only the first dimension may be " +
                      "dynamic, and its type must be one of ONNX's plain types",
                  "build the plan again with a fixed image size");
  }
  return port;
}

void Engine::read_ports() {
  for (int32_t i = 0; i < engine_->getNbIOTensors(); ++i) {
    const char* name = engine_->getIOTensorName(i);
    const bool input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
    (input ? inputs_ : outputs_).push_back(read_port(name));
  }
}

std::size_t Engine::arena_bytes() const {
  return static_cast<std::size_t>(std::max<std::int64_t>(engine_->getDeviceMemorySizeV2(), 0));
}

std::unique_ptr<Executor> Engine::make_executor(void* arena, std::size_t arena_bytes) {
  const std::lock_guard lock(contexts_mutex_);
  std::unique_ptr<nvinfer1::IExecutionContext> context(contexts_->create());
  if (context == nullptr) throw failure("create an execution context");
  context->setDeviceMemoryV2(arena, static_cast<int64_t>(arena_bytes));
  // Engines are built with details for the inspector; ranges for a profiler would cost time in every request.
  context->setNvtxVerbosity(nvinfer1::ProfilingVerbosity::kNONE);
  if (options_.persistent_l2_bytes)
    context->setPersistentCacheLimit(static_cast<std::size_t>(*options_.persistent_l2_bytes));
  return std::make_unique<SdkExecutor>(*this, std::move(context));
}

std::shared_ptr<GpuEngine> open_engine(const ferry_open_args& args) {
  return std::make_shared<Engine>(args.plan, args.plan_size, parse_open_options(args.options_json), args.log);
}

std::string Engine::sdk_version() const { return version_text(library_.version); }

std::string Engine::layers_json() const { return inspector_json(*engine_); }

}  // namespace ferry::nvinfer
