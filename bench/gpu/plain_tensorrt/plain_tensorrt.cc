// plain_tensorrt PLAN [--placements | --launches | --second-stream] BATCH... : what a program gets from the same plan
// that calls TensorRT as its examples do, and what the device alone could give. JSON on stdout, one object a batch and
// way, interleaved in rounds:
//   plain        pageable arrays, a blocking copy in, enqueueV3, wait, a blocking copy out (cudaMemcpy's calls)
//   plain_async  the same with copies on the stream (cudaMemcpyAsync's calls)
//   one_graph    memcpy into pinned memory, one CUDA graph with both copies and the network, wait
//   split_graph  memcpy into pinned memory, the copy in, then a graph with the network and the copy out, wait
//   device       the network alone as a CUDA graph, between two events: the floor that ferry is held against
// With --placements instead of these ways the network alone, as `device`, with its activations at several places of one
// arena, in turns: whether a plan's speed depends on where they lie (docs/benchmarks/log.md, "One plan, several
// speeds"). With --launches the network alone with its events around the graph's launch, in the graph, and as one of
// eight graphs in a row, and the host's time to launch it: what of `device` is the launch. With --second-stream the
// network alone after everything that a second context on a second stream needs, step by step (docs/benchmarks/log.md,
// "Two speeds of every graph"). PLAIN_INSPECT=FILE also
// writes the engine inspector's text. The libraries are opened at run time: FERRY_TENSORRT_DIR or the loader's path,
// and libcuda.so.1.
#include <algorithm>
#include <fstream>
#include <iterator>

#include "lane.h"
#include "second_stream.h"

namespace {

using namespace plain;

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
    else if (std::strcmp(argv[i], "--second-stream") == 0)
      measure = measure_second_stream;
    else
      batches.push_back(std::atol(argv[i]));
  }
  if (batches.empty()) {
    std::fprintf(stderr, "usage: %s PLAN [--placements | --launches | --second-stream] BATCH...\n", argv[0]);
    return 2;
  }
  try {
    return run(argv[1], batches, measure);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
