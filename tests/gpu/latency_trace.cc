// Where the cycles of a run of ferry's latency engine go. The kernel is compiled with clock stamps, which cost a
// little: the shares count, not the sum.
//
//   gpu_latency_trace [BATCH] [MODEL.onnx|int8]     without a model: ResNet-101 at 224 with seeded weights
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string_view>

#include "cuda/executor.h"
#include "cuda_support/graph.h"
#include "cuda_support/stream.h"
#include "gpu/latency_plan.h"
#include "gpu/resnet_onnx.h"
#include "nvinfer/failure.h"

namespace ferry::cuda {
KernelImage kernels_resnet_trace();
}

namespace ferry::latency {
namespace {

constexpr int kStamps = 16, kRuns = 20;

/// What a block does in a phase, in this order; cycles of each.
enum Part { kMeeting, kActivations, kEarlierTiles, kProducts, kPartialSums, kStore, kArrival, kParts };
constexpr std::array<const char*, kParts> kNames{
    "waiting for the grid", "waiting for activations", "tiles but the last", "products",
    "partial sums",         "summing and storing",     "saying stored"};
using Cycles = std::array<double, kParts>;

/// A block's stamps of one phase, as kernel.cuh sets them.
struct Stamps {
  const long long* at;
  double between(int from, int to) const { return std::max(0.0, static_cast<double>(at[to] - at[from])); }
};

/// `next`: the block's stamps of the phase behind, or null. The classifier and the pools set only what they have.
Cycles cycles_of(Stamps here, const long long* next, bool first, bool conv, bool chain) {
  Cycles c{};
  if (chain) {  // more of it below the table
    c[kActivations] = here.between(11, 0);
    c[kProducts] = here.between(0, 4);
    return c;
  }
  if (!first) c[kMeeting] = here.between(9, 10);
  const double done = next != nullptr ? static_cast<double>(next[9]) : static_cast<double>(here.at[5]);
  if (!conv) {
    c[kStore] = std::max(0.0, done - static_cast<double>(here.at[10]));
    return c;
  }
  c[kEarlierTiles] = here.between(10, 0);
  c[kActivations] = std::max(0.0, static_cast<double>(here.at[1] - std::max(here.at[0], here.at[10])));
  c[kProducts] = here.between(1, 6);
  c[kPartialSums] = here.between(6, 3);
  c[kStore] = here.between(3, 4);
  c[kArrival] = std::max(0.0, done - static_cast<double>(here.at[4]));
  return c;
}

/// The steps of a chain (kernel/chain.cuh), each from the stamp before it.
struct Step {
  const char* name;
  int from, to;
};
constexpr std::array<Step, 12> kChain{{{"waiting for what it reads", 11, 0},
                                       {"3x3, first pass", 0, 12},
                                       {"3x3, second pass", 12, 2},
                                       {"its partial sums", 2, 3},
                                       {"summing, sending to all", 3, 7},
                                       {"waiting for the others'", 7, 8},
                                       {"waiting for weights", 8, 1},
                                       {"outer 1x1", 1, 6},
                                       {"summing, storing", 6, 13},
                                       {"waiting for weights", 13, 14},
                                       {"next 1x1, sending parts", 14, 15},
                                       {"waiting for parts, adding up", 15, 4}}};

std::string kind_of(const Program& program, const Phase& phase) {
  if (phase.kind == kPhaseChain) return "chain of " + std::to_string(phase.convs);
  if (phase.kind != kPhaseConv)
    return phase.kind == kPhaseMaxPool ? "max pool" : phase.kind == kPhaseAvgPool ? "average" : "classifier";
  const ConvDesc& c = program.convs[static_cast<std::size_t>(phase.conv[0])];
  std::string text = std::to_string(c.OH) + "x" + std::to_string(c.OW);
  text += c.kind == kStem ? " stem" : c.kind == kConv3x3 ? " 3x3" : " 1x1";
  if (c.kind != kStem && c.stride == 2) text += " /2";
  text += " " + std::to_string(c.C) + ">" + std::to_string(c.N);
  return phase.convs > 1 ? text + " and another" : text;
}

class Tracer {
 public:
  Tracer(const std::string& plan, std::int64_t batch)
      : engine_(open_plan(plan)),
        current_(engine_->context()),
        program_(engine_->program_for(batch)),
        arena_(engine_->arena_bytes()),
        input_(engine_->inputs()[0].row_bytes * static_cast<std::size_t>(batch)),
        output_(engine_->outputs()[0].row_bytes * static_cast<std::size_t>(batch)),
        kernels_(cuda::kernels_resnet_trace()),
        function_(kernels_.function(kernel_name(read_plan(plan).layers.int8(), engine_->runs_in_clusters(batch)))),
        executor_(*engine_, arena_.data()),
        launch_(engine_->kernel().launch(engine_->runs_in_clusters(batch))),
        blocks_(launch_.grid[0]),
        stamps_(program_.phases.size() * blocks_ * kStamps),
        device_stamps_(stamps_.size() * sizeof(long long)) {
    cuda::allow_shared(function_, launch_.shared_bytes);
    cuda::fill_bytes(input_.data(), 0, input_.size(), stream_.handle());
    executor_.bind(0, batch, {input_.data()}, {output_.data()}, stream_.handle());
    executor_.net().trace = static_cast<long long*>(device_stamps_.data());
  }

  /// Mean cycles of a phase over runs and over the blocks that have work in it.
  std::vector<Cycles> run() {
    std::vector<Cycles> sums(program_.phases.size());
    for (int i = -5; i < kRuns; ++i) {
      launch();
      if (i >= 0)
        for (std::size_t p = 0; p < sums.size(); ++p) add(p, sums[p]);
    }
    return sums;
  }
  const Program& program() const { return program_; }
  void print_chain() const {
    if (chains_ > 0) std::printf("\na chain of three, cycles, mean over its blocks:\n");
    for (std::size_t i = 0; chains_ > 0 && i < kChain.size(); ++i)
      std::printf("  %-32s %7.0f\n", kChain[i].name, chain_[i] / chains_);
  }

 private:
  void launch() {
    void* arguments[] = {&executor_.net()};
    cuda::launch(function_, launch_, arguments, stream_.handle());
    cuda::copy_to_host(stamps_.data(), device_stamps_.data(), device_stamps_.size(), stream_.handle());
    stream_.synchronize();
    executor_.finish();
  }
  const long long* stamps(std::size_t p, std::size_t block) const {
    return p < program_.phases.size() ? &stamps_[(p * blocks_ + block) * kStamps] : nullptr;
  }
  void add(std::size_t p, Cycles& to) {
    const Phase& phase = program_.phases[p];
    const bool conv = phase.kind == kPhaseConv || phase.kind == kPhaseChain;
    const std::size_t working = conv ? std::min<std::size_t>(blocks_, static_cast<std::size_t>(phase.tiles)) : blocks_;
    for (std::size_t block = 0; block < working; ++block) {
      const Cycles c = cycles_of({stamps(p, block)}, stamps(p + 1, block), p == 0, conv, phase.kind == kPhaseChain);
      for (int part = 0; part < kParts; ++part)
        to[static_cast<std::size_t>(part)] += c[static_cast<std::size_t>(part)] / static_cast<double>(working) / kRuns;
      if (phase.kind == kPhaseChain && phase.convs > 2) add_chain({stamps(p, block)});
    }
  }
  void add_chain(const Stamps& stamps) {
    for (std::size_t i = 0; i < kChain.size(); ++i) chain_[i] += stamps.between(kChain[i].from, kChain[i].to);
    ++chains_;
  }

  std::shared_ptr<Engine> engine_;
  cuda::Current current_;
  Program program_;
  cuda::Stream stream_;
  cuda::DeviceBuffer arena_, input_, output_;
  cuda::Kernels kernels_;
  CUfunc_st* function_;
  Executor executor_;
  cuda::Launch launch_;
  std::size_t blocks_;
  std::vector<long long> stamps_;
  cuda::DeviceBuffer device_stamps_;
  std::array<double, kChain.size()> chain_{};
  double chains_ = 0;
};

void print_row(const std::string& name, int phases, const Cycles& cycles, double all) {
  double sum = 0;
  for (const double c : cycles) sum += c;
  std::printf("%-34s %3d %9.0f %5.1f%%", name.c_str(), phases, sum / phases, 100 * sum / all);
  for (const double c : cycles) std::printf(" %8.0f", c / phases);
  std::printf("\n");
}

void print(const Program& program, const std::vector<Cycles>& phases) {
  struct Kind {
    int phases = 0;
    Cycles cycles{};
  };
  std::vector<std::string> order;
  std::map<std::string, Kind> kinds;
  Kind total;
  double all = 0;
  for (std::size_t p = 0; p < phases.size(); ++p) {
    const std::string name = kind_of(program, program.phases[p]);
    Kind& kind = kinds[name];
    if (kind.phases++ == 0) order.push_back(name);
    ++total.phases;
    for (std::size_t part = 0; part < kParts; ++part) {
      kind.cycles[part] += phases[p][part];
      total.cycles[part] += phases[p][part];
      all += phases[p][part];
    }
  }
  std::printf("cycles of a phase, mean over the blocks that work in it\n");
  std::printf("%-34s %3s %9s %6s  grid, activations, earlier tiles, products, partial sums, store, saying stored\n", "",
              "", "a phase", "share");
  for (const std::string& name : order) print_row(name, kinds[name].phases, kinds[name].cycles, all);
  print_row("all phases", total.phases, total.cycles, all);
  std::printf("\n%.0f cycles in all:\n", all);
  for (std::size_t part = 0; part < kParts; ++part)
    std::printf("  %-24s %9.0f %5.1f%%\n", kNames[part], total.cycles[part], 100 * total.cycles[part] / all);
}

/// Median over runs of what `run` returns, in ms.
template <typename Run>
double median_of(const Run& run) {
  std::vector<double> all;
  for (int i = -20; i < 201; ++i) {
    const double ms = run();
    if (i >= 0) all.push_back(ms);
  }
  std::nth_element(all.begin(), all.begin() + 100, all.end());
  return all[100];
}

/// The plan's own kernel, timed in four ways: what is in them besides its cycles is what a launch costs.
void print_launches(const std::string& plan, std::int64_t batch) {
  constexpr int kQueue = 16;
  const std::shared_ptr<Engine> engine = open_plan(plan);
  const cuda::Current current(engine->context());
  const cuda::Stream stream;
  const cuda::DeviceBuffer arena(engine->arena_bytes()),
      input(engine->inputs()[0].row_bytes * static_cast<std::size_t>(batch)),
      output(engine->outputs()[0].row_bytes * static_cast<std::size_t>(batch));
  cuda::fill_bytes(input.data(), 0, input.size(), stream.handle());
  Executor executor(*engine, arena.data());
  executor.bind(0, batch, {input.data()}, {output.data()}, stream.handle());
  const cuda::Event begin, end;
  const auto enqueue = [&] { executor.enqueue(stream.handle()); };
  const auto between = [&](const auto& launch) {
    begin.record(stream);
    launch();
    end.record(stream);
    stream.synchronize();
    return cuda::Event::elapsed_ms(begin, end);
  };
  const cuda::GraphExec graph = cuda::GraphExec::capture(stream, enqueue);
  const cuda::GraphExec timed = cuda::GraphExec::capture(stream, [&] {
    begin.record_in_graph(stream);
    enqueue();
    end.record_in_graph(stream);
  });
  const double launched = median_of([&] { return between(enqueue); });
  const double outside = median_of([&] { return between([&] { graph.launch(stream); }); });
  const double inside = median_of([&] {
    timed.launch(stream);
    stream.synchronize();
    return cuda::Event::elapsed_ms(begin, end);
  });
  const double queued = median_of([&] {
    return between([&] {
             for (int i = 0; i < kQueue; ++i) graph.launch(stream);
           }) /
           kQueue;
  });
  executor.finish();
  std::printf(
      "\nms between events: around a launch %.4f, around a graph's launch %.4f, in the graph %.4f; one of %d in a row "
      "%.4f\n",
      launched, outside, inside, kQueue, queued);
}

std::string model_of(const char* path) {
  ferry::testing::ResNetSpec spec;
  spec.int8 = path != nullptr && std::string_view(path) == "int8";
  if (path == nullptr || spec.int8) return ferry::testing::resnet_onnx(spec, 7);
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace
}  // namespace ferry::latency

int main(int argc, char** argv) try {
  const int batch = argc > 1 ? std::atoi(argv[1]) : 1;
  const std::string plan =
      ferry::latency::build_plan(ferry::latency::model_of(argc > 2 ? argv[2] : nullptr), batch, batch);
  ferry::latency::Tracer tracer(plan, batch);
  ferry::latency::print(tracer.program(), tracer.run());
  tracer.print_chain();
  ferry::latency::print_launches(plan, batch);
  return 0;
} catch (const std::exception& failure) {  // also nvinfer::Failure
  std::fprintf(stderr, "gpu_latency_trace: %s\n", failure.what());
  return 1;
}
