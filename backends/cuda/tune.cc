#include "cuda/tune.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "cuda/chains.h"
#include "cuda/loaded.h"
#include "cuda/pack.h"
#include "cuda/watchdog.h"
#include "cuda_support/context.h"
#include "cuda_support/memory.h"
#include "cuda_support/stream.h"
#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

constexpr std::size_t kWays = 12;  // of a phase that are measured at most
constexpr double kDearest = 1.7;   // by the model, of the cheapest; it errs by less
constexpr int kWarmUp = 3;

/// What makes two phases take the same time: one is measured for all of them.
std::vector<int> likeness(const Layers& layers, const std::vector<int>& phase) {
  std::vector<int> key;
  for (const int i : phase) {
    const Layer& layer = layers.layers[static_cast<std::size_t>(i)];
    const Shape &in = layers.in(layer), &out = layers.out(layer);
    for (const int value : {static_cast<int>(layer.kind), layer.kernel, layer.stride, layer.residual >= 0 ? 1 : 0,
                            in.height, in.width, in.channels, out.channels})
      key.push_back(value);
  }
  return key;
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

/// Memory of a launch, as large as any asked for so far.
class Tuner::Bench {
 public:
  Bench(const Layers& layers, const cuda::DeviceInfo& device, int runs)
      : layers_(layers),
        device_(device),
        runs_(runs),
        context_(device.index),
        current_(context_),
        kernel_(device, layers.int8()) {}

  int clusters() const { return kernel_.clusters(); }

  /// Cycles of each phase, the median of the runs; nothing where the GPU tells no time.
  std::vector<double> measure(const std::vector<Tile>& tiles, int images, const Machine& machine) {
    std::size_t weight_bytes = 0;
    const std::vector<Place> places = lay_weights(layers_, tiles, images, machine, weight_bytes);
    const Program program = make_program(layers_, tiles, places, weight_bytes, images, machine);
    Net net = prepare(program, weight_bytes, images);
    std::vector<std::vector<double>> cycles(program.phases.size());
    for (int i = -kWarmUp; i < runs_; ++i) {
      const std::vector<long long> clocks = launch(net);
      if (clocks.back() == 0) return {};
      for (std::size_t p = 0; i >= 0 && p < cycles.size(); ++p)
        cycles[p].push_back(static_cast<double>(clocks[p + 1] - clocks[p]));
    }
    std::vector<double> medians;
    medians.reserve(cycles.size());
    for (std::vector<double>& of_phase : cycles) medians.push_back(median(of_phase));
    return medians;
  }

 private:
  static void need(cuda::DeviceBuffer& buffer, std::size_t size) {
    if (buffer.size() < size) buffer = cuda::DeviceBuffer(size);
  }
  void upload(cuda::DeviceBuffer& to, const std::string& bytes) {
    need(to, bytes.size());
    cuda::copy_to_device(to.data(), bytes.data(), bytes.size(), stream_.handle());
    stream_.synchronize();  // the bytes end with the caller
  }
  template <typename Row>
  static std::string bytes_of(const std::vector<Row>& rows) {
    return {reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(Row)};
  }
  std::size_t floats(int tensor, int images) const {
    const Shape& s = layers_.tensors[static_cast<std::size_t>(tensor)];
    return sizeof(float) * static_cast<std::size_t>(images) * static_cast<std::size_t>(s.height) *
           static_cast<std::size_t>(s.width) * static_cast<std::size_t>(s.channels);
  }

  Net prepare(const Program& program, std::size_t weight_bytes, int images) {
    need(weights_, weight_bytes);
    need(arena_, kCounterBytes + program.arena_bytes);
    need(input_, floats(0, images));
    need(output_, floats(layers_.layers.back().out, images));
    need(clocks_, (program.phases.size() + 1) * sizeof(long long));
    for (cuda::DeviceBuffer* buffer : {&weights_, &arena_, &input_, &clocks_})
      cuda::fill_bytes(buffer->data(), 0, buffer->size(), stream_.handle());
    upload(phases_, bytes_of(program.phases));
    upload(convs_, bytes_of(program.convs));
    Net net{};
    net.arena = static_cast<char*>(arena_.data()) + kCounterBytes;
    if (device_.major >= 9) {
      std::string maps(maps_bytes(program), '\0');
      write_maps(program, net.arena, maps.data());
      upload(maps_, maps);
      net.maps = static_cast<const char*>(maps_.data());
    }
    net.phases = static_cast<const Phase*>(phases_.data());
    net.convs = static_cast<const ConvDesc*>(convs_.data());
    net.count = static_cast<int>(program.phases.size());
    net.convs_count = static_cast<int>(program.convs.size());
    net.exchange = program.exchange_bytes;
    net.weights = static_cast<const char*>(weights_.data());
    net.input = static_cast<const float*>(input_.data());
    net.output = static_cast<float*>(output_.data());
    net.counter = static_cast<unsigned*>(arena_.data());
    net.failed = static_cast<unsigned*>(failed_.data());
    net.watchdog = watchdog_cycles(kWatchdogSeconds);
    net.clocks = static_cast<long long*>(clocks_.data());
    return net;
  }

  std::vector<long long> launch(Net& net) {
    void* arguments[] = {&net};
    std::vector<long long> clocks(static_cast<std::size_t>(net.count) + 1);
    *static_cast<unsigned*>(failed_.data()) = 0;
    const bool in_clusters = net.exchange > 0;
    cuda::launch(kernel_.function(in_clusters), kernel_.launch(in_clusters), arguments, stream_.handle());
    cuda::copy_to_host(clocks.data(), clocks_.data(), clocks.size() * sizeof(long long), stream_.handle());
    stream_.synchronize();
    if (*static_cast<const volatile unsigned*>(failed_.data()) != 0)
      throw nvinfer::Failure("GPU", "the parts of the kernel waited for each other for more than two seconds",
                             "another program may hold the GPU; --optimization-level 0 plans without measuring");
    return clocks;
  }

  const Layers& layers_;
  cuda::DeviceInfo device_;
  int runs_;
  cuda::Context context_;
  cuda::Current current_;
  LoadedKernel kernel_;
  cuda::Stream stream_;
  cuda::DeviceBuffer weights_, arena_, input_, output_, clocks_, phases_, convs_, maps_;
  cuda::PinnedBuffer failed_{sizeof(unsigned)};
};

Tuner::Tuner(const Layers& layers, const Machine& machine, const cuda::DeviceInfo& device, int runs)
    : layers_(layers), machine_(machine), bench_(std::make_unique<Bench>(layers_, device, runs)) {}
Tuner::~Tuner() = default;

int Tuner::clusters() const { return bench_->clusters(); }

std::optional<Tuned> Tuner::tune(int images, int clusters, const Step& step) {
  const Machine machine = in_clusters(machine_, clusters);
  const auto phases = schedule(layers_, images, clusters);
  const auto ways = phase_tiles(layers_, images, machine, kWays, kDearest);
  std::size_t most = 1;
  for (const auto& of_phase : ways) most = std::max(most, of_phase.size());
  const auto tiles_of = [&](const std::function<std::size_t(std::size_t phase)>& which) {
    std::vector<Tile> tiles(layers_.layers.size());
    for (std::size_t p = 0; p < phases.size(); ++p)
      for (std::size_t k = 0; k < phases[p].size(); ++k)
        tiles[static_cast<std::size_t>(phases[p][k])] = ways[p][which(p)].tiles[k];
    return tiles;
  };
  std::map<std::vector<int>, std::vector<double>> cycles;  // by likeness, of each way
  for (std::size_t way = 0; way < most; ++way) {
    const auto which = [&](std::size_t p) { return way < ways[p].size() ? way : 0; };
    const std::vector<double> measured = bench_->measure(tiles_of(which), images, machine);
    if (measured.empty()) return std::nullopt;
    for (std::size_t p = 0; p < phases.size(); ++p) {
      std::vector<double>& of_kind = cycles[likeness(layers_, phases[p])];
      of_kind.resize(ways[p].size());
      if (way < ways[p].size()) of_kind[way] += measured[p];
    }
    step(static_cast<std::int64_t>(way) + 1, static_cast<std::int64_t>(most) + 1);
  }
  const auto quickest = [&](std::size_t p) {
    const std::vector<double>& of_kind = cycles[likeness(layers_, phases[p])];
    return static_cast<std::size_t>(std::min_element(of_kind.begin(), of_kind.end()) - of_kind.begin());
  };
  // Phases are measured one beside another's best, and chosen together: so both whole networks run once more.
  Tuned tuned{tiles_of(quickest)};
  const std::vector<Tile> by_model = tiles_of([](std::size_t) { return 0; });
  const auto total = [&](const std::vector<Tile>& tiles) {
    const std::vector<double> measured = bench_->measure(tiles, images, machine);
    return std::accumulate(measured.begin(), measured.end(), 0.0);
  };
  tuned.model_cycles = total(by_model);
  tuned.tuned_cycles = total(tuned.tiles);
  if (tuned.tuned_cycles >= tuned.model_cycles) tuned = {by_model, tuned.model_cycles, tuned.model_cycles};
  step(static_cast<std::int64_t>(most) + 1, static_cast<std::int64_t>(most) + 1);
  return tuned;
}

}  // namespace ferry::latency
