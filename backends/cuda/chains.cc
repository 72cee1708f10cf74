#include "cuda/chains.h"

namespace ferry::latency {
namespace {

const Layer& layer_of(const Layers& layers, int index) { return layers.layers[static_cast<std::size_t>(index)]; }

/// The convolution that is alone in a phase.
const Layer* only(const Layers& layers, const std::vector<std::vector<int>>& phases, std::size_t p) {
  if (p >= phases.size() || phases[p].size() != 1) return nullptr;
  const Layer& layer = layer_of(layers, phases[p][0]);
  return layer.kind == LayerKind::kConv ? &layer : nullptr;
}

/// A convolution that reads `in` and has as many channels as the kernel's chains.
bool takes(const Layers& layers, const Layer* layer, int in, int kernel, int channels) {
  return layer != nullptr && layer->in == in && layer->kernel == kernel && layer->stride == 1 &&
         padded_channels(layers.out(*layer).channels) == channels &&
         (!layers.int8() || (layers.scale(layer->in) > 0 && layers.scale(layer->out) > 0));
}

bool begins(const Layers& layers, const Layer* inner, int images, int clusters) {
  if (inner == nullptr || inner->residual >= 0) return false;
  const Shape& out = layers.out(*inner);
  return padded_channels(layers.in(*inner).channels) == kChainInner &&
         takes(layers, inner, inner->in, 3, kChainInner) &&
         std::int64_t{images} * out.height * out.width <= std::int64_t{clusters} * kChainPixels;
}

}  // namespace

Machine in_clusters(const Machine& machine, int clusters) {
  Machine used = machine;
  used.clusters = clusters;
  if (clusters > 0) used.multiprocessors = clusters * kCluster;
  return used;
}

std::vector<std::vector<int>> schedule(const Layers& layers, int images, int clusters) {
  const auto phases = schedule(layers);
  std::vector<std::vector<int>> joined;
  for (std::size_t p = 0; p < phases.size(); ++p) {
    joined.push_back(phases[p]);
    const Layer *inner = only(layers, phases, p), *outer = only(layers, phases, p + 1),
                *next = only(layers, phases, p + 2);
    if (!begins(layers, inner, images, clusters) || !takes(layers, outer, inner->out, 1, kChainOuter)) continue;
    joined.back().push_back(phases[++p][0]);
    if (takes(layers, next, outer->out, 1, kChainInner) && next->residual < 0) joined.back().push_back(phases[++p][0]);
  }
  return joined;
}

bool is_chain(const Layers& layers, const std::vector<int>& phase) {
  return phase.size() > 1 && layer_of(layers, phase[1]).in == layer_of(layers, phase[0]).out;
}

std::vector<Tile> chain_tiles(const Layers& layers, const std::vector<int>& phase) {
  // 32 channels, of K in two halves where they are float16; 128 channels; all 256, an eighth of K for each block
  std::vector<Tile> tiles{{1, 2, 1, 2, layers.int8() ? 1 : 2}, {1, 2, 1, kWarps, 1}, {1, 4, 1, kWarps, kCluster}};
  tiles.resize(phase.size());
  return tiles;
}

}  // namespace ferry::latency
