// plain_tensorrt PLAN [--placements | --launches] BATCH... : what a program gets from the same plan that calls TensorRT
// as its examples do, and what the device alone could give. JSON on stdout, one object a batch and way, interleaved in
// rounds:
//   plain        pageable arrays, a blocking copy in, enqueueV3, wait, a blocking copy out (cudaMemcpy's calls)
//   plain_async  the same with copies on the stream (cudaMemcpyAsync's calls)
//   one_graph    memcpy into pinned memory, one CUDA graph with both copies and the network, wait
//   split_graph  memcpy into pinned memory, the copy in, then a graph with the network and the copy out, wait
//   device       the network alone as a CUDA graph, between two events: the floor that ferry is held against
// With --placements instead of these ways the network alone, as `device`, with its activations at several places of one
// arena, in turns: whether a plan's speed depends on where they lie (docs/benchmarks/log.md, "One plan, several
// speeds"). With --launches the network alone with its events around the graph's launch, in the graph, and as one of
// eight graphs in a row, and the host's time to launch it: what of `device` is the launch. PLAIN_INSPECT=FILE also
// writes the engine inspector's text. The libraries are opened at run time: FERRY_TENSORRT_DIR or the loader's path,
// and libcuda.so.1.
#include <NvInferRuntime.h>
#include <dlfcn.h>
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

template <typename Function>
Function* symbol(void* library, const char* name) {
  void* found = library == nullptr ? nullptr : dlsym(library, name);
  if (found == nullptr) throw std::runtime_error(std::string("cannot find ") + name);
  return reinterpret_cast<Function*>(found);
}

void* open_library(const std::string& name) {
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

void* driver() {
  static void* const library = open_library("libcuda.so.1");
  return library;
}

class Quiet final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override {
    if (severity <= Severity::kERROR) std::fprintf(stderr, "%s\n", text);
  }
};

std::unique_ptr<nvinfer1::IRuntime> make_runtime(Quiet& logger) {
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

std::size_t bytes_of(const nvinfer1::ICudaEngine& engine, const char* name, long batch) {
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

int profile_for(const nvinfer1::ICudaEngine& engine, const char* input, long batch) {
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

/// One batch size: buffers, a context, graphs, and each way to run it. What it holds goes with the process.
class Lane {
 public:
  /// `activations`: memory of the engine's size for them; null: TensorRT allocates some.
  Lane(nvinfer1::ICudaEngine& engine, long batch, CUdeviceptr activations = 0)
      : context_(engine.createExecutionContext(activations == 0
                                                   ? nvinfer1::ExecutionContextAllocationStrategy::kSTATIC
                                                   : nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED)) {
    const char *input = nullptr, *output = nullptr;
    for (int i = 0; i < engine.getNbIOTensors(); ++i) {
      const char* name = engine.getIOTensorName(i);
      (engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT ? input : output) = name;
    }
    if (context_ == nullptr || input == nullptr || output == nullptr) throw std::runtime_error("not an image network");
    if (activations != 0)
      context_->setDeviceMemoryV2(reinterpret_cast<void*>(activations), engine.getDeviceMemorySizeV2());
    in_bytes_ = bytes_of(engine, input, batch);
    out_bytes_ = bytes_of(engine, output, batch);
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
    nvinfer1::Dims dims = engine.getTensorShape(input);
    dims.d[0] = static_cast<int>(batch);
    const bool ready = context_->setOptimizationProfileAsync(profile_for(engine, input, batch), stream_) &&
                       context_->setInputShape(input, dims) &&
                       context_->setTensorAddress(input, reinterpret_cast<void*>(in_)) &&
                       context_->setTensorAddress(output, reinterpret_cast<void*>(out_));
    if (!ready) throw std::runtime_error("TensorRT refuses the batch");
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
  void enqueue() {
    if (!context_->enqueueV3(stream_)) throw std::runtime_error("enqueueV3 failed");
  }
  void wait() { CUDA_CALL(cuStreamSynchronize, stream_); }
  void launch(CUgraphExec graph) { CUDA_CALL(cuGraphLaunch, graph, stream_); }
  CUgraphExec capture(const std::function<void()>& work) {
    CUgraph graph = nullptr;
    CUgraphExec executable = nullptr;
    CUDA_CALL(cuStreamBeginCapture_v2, stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    work();
    CUDA_CALL(cuStreamEndCapture, stream_, &graph);
    CUDA_CALL(cuGraphInstantiateWithFlags, &executable, graph, 0);
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

struct Way {
  std::string name;
  long batch;
  std::function<double()> run;  // milliseconds
  std::vector<double> samples;
};

std::function<double()> on_the_wall(Lane& lane, void (Lane::*way)()) {
  return [&lane, way] {
    const auto begin = Clock::now();
    (lane.*way)();
    return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  };
}

double quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

/// Runs the ways in turns and prints an object for each.
void measure(std::vector<Way>& ways, bool& first) {
  for (int round = 0; round < 6; ++round) {  // the first round warms up
    for (Way& way : ways) {
      const auto begin = Clock::now();
      for (int i = 0; i < 10 || Clock::now() - begin < std::chrono::milliseconds(120); ++i) {
        const double ms = way.run();
        if (round > 0) way.samples.push_back(ms);
      }
    }
  }
  for (Way& way : ways) {
    std::sort(way.samples.begin(), way.samples.end());
    std::printf("%s\n {\"way\": \"%s\", \"batch\": %ld, \"median_ms\": %.5f, \"p99_ms\": %.5f, \"runs\": %zu}",
                first ? "" : ",", way.name.c_str(), way.batch, quantile(way.samples, 0.5), quantile(way.samples, 0.99),
                way.samples.size());
    first = false;
  }
}

void measure_ways(nvinfer1::ICudaEngine& engine, long batch, bool& first) {
  Lane lane(engine, batch);
  std::vector<Way> ways{{"plain", batch, on_the_wall(lane, &Lane::plain), {}},
                        {"plain_async", batch, on_the_wall(lane, &Lane::plain_async), {}},
                        {"one_graph", batch, on_the_wall(lane, &Lane::one_graph), {}},
                        {"split_graph", batch, on_the_wall(lane, &Lane::split_graph), {}},
                        {"device", batch, [&lane] { return lane.device(); }, {}}};
  measure(ways, first);
}

void measure_launches(nvinfer1::ICudaEngine& engine, long batch, bool& first) {
  constexpr int kInARow = 8;
  Lane lane(engine, batch);
  std::vector<Way> ways{
      {"device, events around the launch", batch, [&lane] { return lane.device(); }, {}},
      {"device, events in the graph", batch, [&lane] { return lane.inside(); }, {}},
      {"device, one of eight in a row", batch, [&lane] { return lane.device(kInARow) / kInARow; }, {}},
      {"host, launching", batch, [&lane] { return lane.launching(); }, {}}};
  measure(ways, first);
}

// Two lanes at the first place tell what is noise; the arena goes with the process.
void measure_placements(nvinfer1::ICudaEngine& engine, long batch, bool& first) {
  constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB;
  constexpr std::size_t kOffsets[] = {0,        0,         64 * kKiB, kMiB,      2 * kMiB,
                                      5 * kMiB, 16 * kMiB, 37 * kMiB, 64 * kMiB, 128 * kMiB};
  CUdeviceptr arena = 0;
  CUDA_CALL(cuMemAlloc_v2, &arena, static_cast<std::size_t>(engine.getDeviceMemorySizeV2()) + 128 * kMiB);
  std::vector<std::unique_ptr<Lane>> lanes;
  std::vector<Way> ways;
  for (const std::size_t offset : kOffsets) {
    Lane* lane = lanes.emplace_back(std::make_unique<Lane>(engine, batch, arena + offset)).get();
    ways.push_back({"device, activations at +" + std::to_string(offset / kKiB) + " KiB",
                    batch,
                    [lane] { return lane->device(); },
                    {}});
  }
  measure(ways, first);
}

// What the inspector says of the whole engine, and of one profile, for whoever asks: FILE.engine.json,
// FILE.profile.json.
void inspect(nvinfer1::ICudaEngine& engine, const std::string& file) {
  const std::unique_ptr<nvinfer1::IEngineInspector> inspector(engine.createEngineInspector());
  const std::unique_ptr<nvinfer1::IExecutionContext> context(engine.createExecutionContext());
  const auto write = [&](const std::string& name) {
    const char* text = inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON);
    std::ofstream(name) << (text == nullptr ? "" : text);
  };
  write(file + ".engine.json");
  inspector->setExecutionContext(context.get());
  write(file + ".profile.json");
}

using Measure = void (*)(nvinfer1::ICudaEngine&, long, bool&);

int run(const char* path, const std::vector<long>& batches, Measure measure) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> plan{std::istreambuf_iterator<char>(file), {}};
  if (plan.empty()) throw std::runtime_error(std::string("cannot read ") + path);
  CUDA_CALL(cuInit, 0);
  CUdevice device = 0;
  CUcontext context = nullptr;
  CUDA_CALL(cuDeviceGet, &device, 0);
  CUDA_CALL(cuDevicePrimaryCtxRetain, &context, device);
  CUDA_CALL(cuCtxPushCurrent_v2, context);
  Quiet logger;
  const auto runtime = make_runtime(logger);
  const std::unique_ptr<nvinfer1::ICudaEngine> engine(runtime->deserializeCudaEngine(plan.data(), plan.size()));
  if (engine == nullptr) throw std::runtime_error("TensorRT cannot open the plan");
  if (const char* prefix = std::getenv("PLAIN_INSPECT")) inspect(*engine, prefix);
  std::printf("[");
  bool first = true;
  for (const long batch : batches) measure(*engine, batch, first);
  std::printf("\n]\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<long> batches;
  Measure measure = measure_ways;
  for (int i = 2; i < argc; ++i) {
    if (std::strcmp(argv[i], "--placements") == 0)
      measure = measure_placements;
    else if (std::strcmp(argv[i], "--launches") == 0)
      measure = measure_launches;
    else
      batches.push_back(std::atol(argv[i]));
  }
  if (batches.empty()) {
    std::fprintf(stderr, "usage: %s PLAN [--placements | --launches] BATCH...\n", argv[0]);
    return 2;
  }
  try {
    return run(argv[1], batches, measure);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
