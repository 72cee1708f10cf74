// A plan and one batch size of it by TensorRT's plain API and the CUDA driver, both opened at run time.
#pragma once

#include <NvInferRuntime.h>
#include <dlfcn.h>
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace plain {

using Clock = std::chrono::steady_clock;

template <typename Function>
Function* symbol(void* library, const char* name) {
  void* found = library == nullptr ? nullptr : dlsym(library, name);
  if (found == nullptr) throw std::runtime_error(std::string("cannot find ") + name);
  return reinterpret_cast<Function*>(found);
}

inline void* open_library(const std::string& name) {
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  return library;
}

#define CUDA_CALL(name, ...)                                              \
  do {                                                                    \
    static auto* const call = symbol<decltype(name)>(driver(), #name);    \
    if (const CUresult code = call(__VA_ARGS__); code != CUDA_SUCCESS)    \
      throw std::runtime_error(#name " failed: " + std::to_string(code)); \
  } while (false)

inline void* driver() {
  static void* const library = open_library("libcuda.so.1");
  return library;
}

class Quiet final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override {
    if (severity <= Severity::kERROR) std::fprintf(stderr, "%s\n", text);
  }
};

inline std::unique_ptr<nvinfer1::IRuntime> make_runtime(Quiet& logger) {
  const char* folder = std::getenv("FERRY_TENSORRT_DIR");
  const std::string name = "libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR);
  void* library = nullptr;
  for (const char* inside : {"/lib/", "/"})
    if (folder != nullptr && library == nullptr) library = dlopen((folder + (inside + name)).c_str(), RTLD_NOW);
  if (library == nullptr) library = open_library(name);
  using Create = void*(void*, int32_t);
  auto* create = symbol<Create>(library, "createInferRuntime_INTERNAL");
  auto* runtime = static_cast<nvinfer1::IRuntime*>(create(&logger, NV_TENSORRT_VERSION));
  if (runtime == nullptr) throw std::runtime_error("TensorRT does not start");
  return std::unique_ptr<nvinfer1::IRuntime>(runtime);
}

inline std::size_t bytes_of(const nvinfer1::ICudaEngine& engine, const char* name, long batch) {
  const nvinfer1::Dims dims = engine.getTensorShape(name);
  std::size_t count = static_cast<std::size_t>(batch);
  for (int i = 1; i < dims.nbDims; ++i) count *= static_cast<std::size_t>(dims.d[i]);
  switch (engine.getTensorDataType(name)) {
    case nvinfer1::DataType::kFLOAT:
    case nvinfer1::DataType::kINT32:
      return count * 4;
    case nvinfer1::DataType::kHALF:
    case nvinfer1::DataType::kBF16:
      return count * 2;
    default:
      return count;
  }
}

inline int profile_for(const nvinfer1::ICudaEngine& engine, const char* input, long batch) {
  using Selector = nvinfer1::OptProfileSelector;
  int best = -1;
  std::int64_t best_max = 0;
  for (int i = 0; i < engine.getNbOptimizationProfiles(); ++i) {
    const std::int64_t low = engine.getProfileShape(input, i, Selector::kMIN).d[0];
    const std::int64_t high = engine.getProfileShape(input, i, Selector::kMAX).d[0];
    if (batch < low || batch > high || (best >= 0 && high >= best_max)) continue;
    best = i;
    best_max = high;
  }
  if (best < 0) throw std::runtime_error("no profile takes batch " + std::to_string(batch));
  return best;
}

inline double quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

/// Names of an image network's only input and output.
struct Ports {
  explicit Ports(const nvinfer1::ICudaEngine& engine) {
    for (int i = 0; i < engine.getNbIOTensors(); ++i) {
      const char* name = engine.getIOTensorName(i);
      (engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT ? input : output) = name;
    }
    if (input == nullptr || output == nullptr) throw std::runtime_error("not an image network");
  }
  const char *input = nullptr, *output = nullptr;
};

inline void bind(nvinfer1::IExecutionContext& context, long batch, CUdeviceptr in, CUdeviceptr out, CUstream stream) {
  const nvinfer1::ICudaEngine& engine = context.getEngine();
  const Ports ports(engine);
  nvinfer1::Dims dims = engine.getTensorShape(ports.input);
  dims.d[0] = static_cast<int>(batch);
  const bool ready = context.setOptimizationProfileAsync(profile_for(engine, ports.input, batch), stream) &&
                     context.setInputShape(ports.input, dims) &&
                     context.setTensorAddress(ports.input, reinterpret_cast<void*>(in)) &&
                     context.setTensorAddress(ports.output, reinterpret_cast<void*>(out));
  if (!ready) throw std::runtime_error("TensorRT refuses the batch");
}

inline void enqueue(nvinfer1::IExecutionContext& context, CUstream stream) {
  if (!context.enqueueV3(stream)) throw std::runtime_error("enqueueV3 failed");
}

/// What `work` puts on the stream, as a graph that is not uploaded yet.
inline CUgraphExec captured(CUstream stream, const std::function<void()>& work) {
  CUgraph graph = nullptr;
  CUgraphExec executable = nullptr;
  CUDA_CALL(cuStreamBeginCapture_v2, stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  work();
  CUDA_CALL(cuStreamEndCapture, stream, &graph);
  CUDA_CALL(cuGraphInstantiateWithFlags, &executable, graph, 0);
  return executable;
}

/// One batch size: buffers, a context, graphs, and each way to run it. What it holds goes with the process.
class Lane {
 public:
  /// `activations`: memory of the engine's size for them; null: TensorRT allocates some.
  Lane(nvinfer1::ICudaEngine& engine, long batch, CUdeviceptr activations = 0)
      : context_(engine.createExecutionContext(activations == 0
                                                   ? nvinfer1::ExecutionContextAllocationStrategy::kSTATIC
                                                   : nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED)) {
    if (context_ == nullptr) throw std::runtime_error("not an image network");
    const Ports ports(engine);
    if (activations != 0)
      context_->setDeviceMemoryV2(reinterpret_cast<void*>(activations), engine.getDeviceMemorySizeV2());
    in_bytes_ = bytes_of(engine, ports.input, batch);
    out_bytes_ = bytes_of(engine, ports.output, batch);
    CUDA_CALL(cuStreamCreate, &stream_, CU_STREAM_NON_BLOCKING);
    CUDA_CALL(cuMemAlloc_v2, &in_, in_bytes_);
    CUDA_CALL(cuMemAlloc_v2, &out_, out_bytes_);
    CUDA_CALL(cuMemHostAlloc, &pinned_in_, in_bytes_, 0);
    CUDA_CALL(cuMemHostAlloc, &pinned_out_, out_bytes_, 0);
    CUDA_CALL(cuEventCreate, &begin_, 0);
    CUDA_CALL(cuEventCreate, &end_, 0);
    host_in_.resize(in_bytes_ / sizeof(float));
    for (std::size_t i = 0; i < host_in_.size(); ++i)  // what a card draws depends on the numbers: no zeros
      host_in_[i] = static_cast<float>((i * 2654435761U >> 8) & 0xFFFF) / 32768 - 1;
    host_out_.resize(out_bytes_);
    bind(*context_, batch, in_, out_, stream_);
    for (int i = 0; i < 3; ++i) plain();
    network_ = capture([&] { enqueue(); });
    timed_ = capture([&] {
      record_in_graph(begin_);
      enqueue();
      record_in_graph(end_);
    });
    whole_ = capture([&] {
      copy_in(pinned_in_);
      enqueue();
      copy_out(pinned_out_);
    });
    rest_ = capture([&] {
      enqueue();
      copy_out(pinned_out_);
    });
  }

  void plain() {
    CUDA_CALL(cuMemcpyHtoD_v2, in_, host_in_.data(), in_bytes_);
    enqueue();
    wait();
    CUDA_CALL(cuMemcpyDtoH_v2, host_out_.data(), out_, out_bytes_);
  }
  void plain_async() {
    copy_in(host_in_.data());
    enqueue();
    copy_out(host_out_.data());
    wait();
  }
  void one_graph() {
    std::memcpy(pinned_in_, host_in_.data(), in_bytes_);
    launch(whole_);
    wait();
    std::memcpy(host_out_.data(), pinned_out_, out_bytes_);
  }
  void split_graph() {
    std::memcpy(pinned_in_, host_in_.data(), in_bytes_);
    copy_in(pinned_in_);
    launch(rest_);
    wait();
    std::memcpy(host_out_.data(), pinned_out_, out_bytes_);
  }
  /// Milliseconds between events around `count` launches, as ferry measures one.
  double device(int count = 1) {
    CUDA_CALL(cuEventRecord, begin_, stream_);
    for (int i = 0; i < count; ++i) launch(network_);
    CUDA_CALL(cuEventRecord, end_, stream_);
    return between_events();
  }
  CUstream stream() const { return stream_; }
  /// Milliseconds between the first and the last node of one graph.
  double inside() {
    launch(timed_);
    return between_events();
  }
  /// Milliseconds of the host in the launch.
  double launching() {
    const auto begin = Clock::now();
    launch(network_);
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    wait();
    return ms;
  }

 private:
  double between_events() {
    wait();
    float ms = 0;
    CUDA_CALL(cuEventElapsedTime, &ms, begin_, end_);
    return ms;
  }
  void record_in_graph(CUevent event) { CUDA_CALL(cuEventRecordWithFlags, event, stream_, CU_EVENT_RECORD_EXTERNAL); }
  void copy_in(const void* from) { CUDA_CALL(cuMemcpyHtoDAsync_v2, in_, from, in_bytes_, stream_); }
  void copy_out(void* to) { CUDA_CALL(cuMemcpyDtoHAsync_v2, to, out_, out_bytes_, stream_); }
  void enqueue() { plain::enqueue(*context_, stream_); }
  void wait() { CUDA_CALL(cuStreamSynchronize, stream_); }
  void launch(CUgraphExec graph) { CUDA_CALL(cuGraphLaunch, graph, stream_); }
  CUgraphExec capture(const std::function<void()>& work) {
    CUgraphExec executable = captured(stream_, work);
    CUDA_CALL(cuGraphUpload, executable, stream_);
    return executable;
  }

  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  std::size_t in_bytes_ = 0, out_bytes_ = 0;
  CUstream stream_ = nullptr;
  CUdeviceptr in_ = 0, out_ = 0;
  void *pinned_in_ = nullptr, *pinned_out_ = nullptr;
  CUevent begin_ = nullptr, end_ = nullptr;
  CUgraphExec network_ = nullptr, timed_ = nullptr, whole_ = nullptr, rest_ = nullptr;
  std::vector<float> host_in_;
  std::vector<unsigned char> host_out_;
};

}  // namespace plain
