// Which tiles a phase gets: all that fit, by what the model says of them.
#include <algorithm>
#include <cmath>

#include "cuda/chains.h"
#include "cuda/tiles.h"
#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

constexpr double kPoolCycles = 1500;
constexpr double kChainCycles = 9500;  // bound by its weights: 2.2 MB for each cluster

struct Candidate {
  Tile tile;
  ConvDesc conv;
  double cycles;  // of the phase, if it is alone in it
};

std::vector<Candidate> candidates(const Layers& layers, const Layer& layer, int images, const Machine& machine,
                                  int room) {
  std::vector<Candidate> all;
  Tile t;
  for (t.mf = 1; t.mf <= 2; t.mf *= 2)
    for (t.nf = 1; t.nf <= 4; t.nf *= 2)
      for (t.wm = 1; t.wm <= kWarps; t.wm *= 2)
        for (t.wn = 1; t.wm * t.wn <= kWarps; t.wn *= 2)
          for (t.passes = 1; t.passes <= 8; t.passes *= 2) {
            const auto d = describe_conv(layers, layer, t, images, room);
            if (!d) continue;
            all.push_back({t, *d, phase_cost(*d, machine, waves(d->mt * d->nt, machine.multiprocessors), room)});
          }
  return all;
}

class Chooser {
 public:
  Chooser(const Layers& layers, int images, const Machine& machine)
      : layers_(layers), images_(images), machine_(machine), room_(stack_room(layers, machine)) {}

  std::vector<PhaseTiles> options_of(const std::vector<int>& phase) const {
    std::vector<PhaseTiles> all;
    const std::vector<Candidate> first = options(phase[0]);
    if (phase.size() == 1) {
      for (const Candidate& a : first) all.push_back({{a.tile}, a.cycles});
    } else {
      const std::vector<Candidate> second = options(phase[1]);
      for (const Candidate& a : first)
        for (const Candidate& b : second) all.push_back({{a.tile, b.tile}, together(a, b)});
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const PhaseTiles& a, const PhaseTiles& b) { return a.cycles < b.cycles; });
    return all;
  }

 private:
  std::vector<Candidate> options(int index) const {
    const auto i = static_cast<std::size_t>(index);
    const Layer& layer = layers_.layers[i];
    auto found = candidates(layers_, layer, images_, machine_, room_);
    if (!found.empty()) return found;
    if (images_ > 1 && layer.stride == 2 && layer.in != 0 && layers_.in(layer).height % 2 != 0)
      throw nvinfer::Failure(
          "layer '" + layer.name + "'",
          "layer '" + layer.name + "' halves an odd height, which this engine does for one picture at a time",
          "use --batch 1, or --backend tensorrt", FERRY_UNSUPPORTED);
    throw nvinfer::Failure("layer '" + layer.name + "'",
                           "layer '" + layer.name + "' fits into no tile of this engine at batch " +
                               std::to_string(images_) + " with " + std::to_string(machine_.shared_bytes) +
                               " bytes of shared memory",
                           "use --backend tensorrt for this model", FERRY_UNSUPPORTED);
  }

  double together(const Candidate& a, const Candidate& b) const {
    const int count = waves(a.conv.mt * a.conv.nt + b.conv.mt * b.conv.nt, machine_.multiprocessors);
    return std::max(phase_cost(a.conv, machine_, count, room_), phase_cost(b.conv, machine_, count, room_));
  }

  const Layers& layers_;
  int images_;
  const Machine& machine_;
  int room_;
};

double weight_bytes(const Layers& layers) {
  double bytes = 0;
  for (const Layer& layer : layers.layers)
    if (layer.kind == LayerKind::kConv || layer.kind == LayerKind::kDense)
      bytes += 1.0 * pixel_bytes(layers, layer.in) * layers.out(layer).channels * layer.kernel * layer.kernel;
  return bytes;
}

}  // namespace

std::vector<std::vector<PhaseTiles>> phase_tiles(const Layers& layers, int images, const Machine& machine,
                                                 std::size_t limit, double dearest) {
  if (stack_room(layers, machine) < kClassifierBytes)
    throw nvinfer::Failure("graph", "the network has too many layers for this GPU's shared memory",
                           "use --backend tensorrt for this model", FERRY_UNSUPPORTED);
  const Chooser chooser(layers, images, machine);
  std::vector<std::vector<PhaseTiles>> result;
  for (const std::vector<int>& phase : schedule(layers, images, machine.clusters)) {
    std::vector<PhaseTiles>& options = result.emplace_back();
    if (layers.layers[static_cast<std::size_t>(phase[0])].kind != LayerKind::kConv) {
      options.push_back({std::vector<Tile>(phase.size()), kPoolCycles});
      continue;
    }
    if (is_chain(layers, phase)) {
      options.push_back({chain_tiles(layers, phase), kChainCycles});
      continue;
    }
    options = chooser.options_of(phase);
    const double most = options.front().cycles * dearest;
    std::size_t count = 1;
    while (count < std::min(limit, options.size()) && options[count].cycles <= most) ++count;
    options.resize(count);
  }
  return result;
}

Choice choose_tiles(const Layers& layers, int images, const Machine& machine) {
  const auto phases = schedule(layers, images, machine.clusters);
  const auto options = phase_tiles(layers, images, machine, 1, 1);
  Choice choice;
  choice.tiles.resize(layers.layers.size());
  double cycles = 0;
  for (std::size_t p = 0; p < phases.size(); ++p) {
    const PhaseTiles& best = options[p].front();
    cycles += machine.meeting + best.cycles;
    for (std::size_t k = 0; k < phases[p].size(); ++k)
      choice.tiles[static_cast<std::size_t>(phases[p][k])] = best.tiles[k];
  }
  // Weights come from memory in every run: more of them than L2 keeps, as a rule.
  choice.ns = std::max(cycles / machine.clock_ghz, weight_bytes(layers) / (0.9 * machine.memory_gbs));
  return choice;
}

}  // namespace ferry::latency
