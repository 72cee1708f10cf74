#include "cuda/program.h"

#include <algorithm>

#include "cuda/boxes.h"
#include "cuda/chains.h"
#include "cuda/pack.h"
#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

constexpr std::uint64_t kBufferAlignment = 256;

std::uint64_t align_up(std::uint64_t value) {
  return (value + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
}

[[noreturn]] void damaged(const Layer& layer, const char* why) {
  throw nvinfer::Failure("plan", "layer '" + layer.name + "' " + why, "build the plan again on this machine");
}

/// When a tensor is first written and last read, in phases.
struct Life {
  int from = -1, to = -1;
};

std::vector<Life> lives(const Layers& layers, const std::vector<std::vector<int>>& phases) {
  std::vector<Life> result(layers.tensors.size());
  for (int p = 0; p < static_cast<int>(phases.size()); ++p)
    for (const int i : phases[static_cast<std::size_t>(p)]) {
      const Layer& layer = layers.layers[static_cast<std::size_t>(i)];
      result[static_cast<std::size_t>(layer.out)] = {p, p};
      result[static_cast<std::size_t>(layer.in)].to = p;
      if (layer.residual >= 0) result[static_cast<std::size_t>(layer.residual)].to = p;
    }
  return result;
}

class Maker {
 public:
  Maker(const Layers& layers, const std::vector<Tile>& tiles, const std::vector<Place>& places,
        std::size_t weight_bytes, int images, const Machine& machine)
      : layers_(layers),
        tiles_(tiles),
        places_(places),
        weight_bytes_(weight_bytes),
        images_(images),
        blocks_(machine.multiprocessors),
        room_(stack_room(layers, machine)),
        phases_(schedule(layers, images, machine.clusters)) {
    std::uint64_t total = 0;
    offsets_ = place_tensors(layers, phases_, images, total);
    if (total >= std::uint64_t{1} << 31)
      throw nvinfer::Failure("batch " + std::to_string(images), "the activations would take more than 2 GB",
                             "use --backend tensorrt for pictures of this size", FERRY_UNSUPPORTED);
    if (room_ < kClassifierBytes)
      throw nvinfer::Failure("plan", "the network has too many layers for this GPU's shared memory",
                             "use --backend tensorrt on this GPU", FERRY_UNSUPPORTED);
    program_.arena_bytes = total;
    program_.exchange_bytes = machine.clusters > 0 ? kExchangeBytes : 0;
  }

  Program make() {
    for (const std::vector<int>& members : phases_) {
      Phase phase{};
      phase.batch = images_;
      phase.item0 = items_;
      const std::size_t first = static_cast<std::size_t>(members.front());
      if (is_chain(layers_, members))
        describe_chain(members, phase);
      else if (layers_.layers[first].kind == LayerKind::kConv)
        describe_convs(members, phase);
      else
        describe_other(first, phase);
      program_.phases.push_back(phase);
    }
    return std::move(program_);
  }

 private:
  std::uint32_t offset(int tensor) const {
    return static_cast<std::uint32_t>(offsets_[static_cast<std::size_t>(tensor)]);
  }

  void need_weights(const Layer& layer, std::uint64_t at, std::uint64_t size) const {
    if (at % kBufferAlignment != 0 || at > weight_bytes_ || size > weight_bytes_ - at)
      damaged(layer, "has its weights outside the plan");
  }

  void describe_convs(const std::vector<int>& members, Phase& phase) {
    for (const int member : members) {
      const ConvDesc conv = describe(static_cast<std::size_t>(member));
      phase.conv[phase.convs] = conv.map;
      phase.tiles += conv.mt * conv.nt;
      if (phase.convs++ == 0) phase.tiles0 = phase.tiles;
      phase.per_tile = std::max<int>(phase.per_tile, conv.passes);
      program_.convs.push_back(conv);
    }
    items_ += waves(phase.tiles, blocks_) * phase.per_tile;
    describe_prefetch(phase);
  }

  /// A block takes one share of each convolution. Its tiles must be the ones that the kernel's chains are written for.
  void describe_chain(const std::vector<int>& members, Phase& phase) {
    const std::vector<Tile> tiles = chain_tiles(layers_, members);
    phase.kind = kPhaseChain;
    for (std::size_t k = 0; k < members.size(); ++k) {
      const auto member = static_cast<std::size_t>(members[k]);
      if (!(tiles_[member] == tiles[k])) damaged(layers_.layers[member], "was planned with other tiles than a chain's");
      const ConvDesc conv = describe(member);
      phase.conv[phase.convs++] = conv.map;
      phase.per_tile += k == 2 ? 1 : conv.passes;
      program_.convs.push_back(conv);
    }
    phase.tiles = phase.tiles0 = waves(program_.convs.back().M, kChainPixels) * kCluster;
    items_ += phase.per_tile;
    describe_prefetch(phase);
  }

  /// What the blocks bring into L2 ahead of time: as far as the phase's weights lie together.
  void describe_prefetch(Phase& phase) const {
    const auto conv = [&](int k) { return program_.convs[static_cast<std::size_t>(phase.conv[k])]; };
    phase.weights = conv(0).weights;
    phase.weight_bytes = packed_bytes(conv(0));
    for (int k = 1; k < phase.convs; ++k) {
      const std::uint64_t end = phase.weights + phase.weight_bytes, next = conv(k).weights;
      if (next < end || next > end + 65536) return;
      phase.weight_bytes = next + packed_bytes(conv(k)) - phase.weights;
    }
  }

  ConvDesc describe(std::size_t i) {
    const Layer& layer = layers_.layers[i];
    const auto made = describe_conv(layers_, layer, tiles_[i], images_, room_);
    if (!made) damaged(layer, "was planned for tiles that this GPU or this version of the kernel cannot take");
    ConvDesc conv = *made;
    if (const char* why = boxes_refused(conv))
      throw nvinfer::Failure(
          "layer '" + layer.name + "'",
          "layer '" + layer.name + "': the GPU's copy engine cannot bring its activations (" + why + ")",
          "use --backend tensorrt for this model", FERRY_UNSUPPORTED);
    need_weights(layer, places_[i].weights, packed_bytes(conv));
    need_weights(layer, places_[i].bias, static_cast<std::uint64_t>(conv.N) * (layers_.int8() ? 8 : 4));
    if (places_[i].bias >= kNone) damaged(layer, "has its weights beyond 4 GB");
    conv.weights = places_[i].weights;
    conv.bias = static_cast<std::uint32_t>(places_[i].bias);
    conv.in = layer.in == 0 ? 0 : offset(layer.in);
    conv.out = offset(layer.out);
    conv.residual = layer.residual < 0 ? kNone : offset(layer.residual);
    conv.map = static_cast<int>(program_.convs.size());
    return conv;
  }

  void describe_other(std::size_t i, Phase& phase) {
    const Layer& layer = layers_.layers[i];
    const Shape& in = layers_.in(layer);
    phase.kind = layer.kind == LayerKind::kMaxPool       ? kPhaseMaxPool
                 : layer.kind == LayerKind::kAveragePool ? kPhaseAvgPool
                                                         : kPhaseFc;
    phase.H = in.height;
    phase.W = in.width;
    phase.C = pixel_bytes(layers_, layer.in) / 2;
    phase.int8 = layers_.scale(layer.in) > 0;
    phase.in = offset(layer.in);
    if (layer.kind != LayerKind::kDense) {
      phase.out = offset(layer.out);
      return;
    }
    phase.H = layers_.out(layer).channels;
    phase.weight_bytes = static_cast<std::uint64_t>(phase.H) * static_cast<std::uint64_t>(phase.C) * 2;
    need_weights(layer, places_[i].weights, phase.weight_bytes);
    need_weights(layer, places_[i].bias, static_cast<std::uint64_t>(phase.H) * 4);
    if (places_[i].bias >= kNone) damaged(layer, "has its weights beyond 4 GB");
    phase.weights = places_[i].weights;
    phase.bias = static_cast<std::uint32_t>(places_[i].bias);
  }

  const Layers& layers_;
  const std::vector<Tile>& tiles_;
  const std::vector<Place>& places_;
  std::size_t weight_bytes_;
  int images_, blocks_, room_, items_ = 0;
  std::vector<std::vector<int>> phases_;
  std::vector<std::uint64_t> offsets_;
  Program program_;
};

}  // namespace

std::uint64_t tensor_bytes(const Layers& layers, int tensor) {
  const Shape& shape = layers.tensors[static_cast<std::size_t>(tensor)];
  for (const Layer& layer : layers.layers)
    if (layer.out == tensor && layer.kind == LayerKind::kAveragePool)
      return static_cast<std::uint64_t>(padded_channels(shape.channels)) * 4;
  return static_cast<std::uint64_t>(shape.height) * static_cast<std::uint64_t>(shape.width) *
         static_cast<std::uint64_t>(pixel_bytes(layers, tensor));
}

std::vector<std::uint64_t> place_tensors(const Layers& layers, const std::vector<std::vector<int>>& phases, int images,
                                         std::uint64_t& total) {
  struct Placed {
    Life life;
    std::uint64_t at, end;
  };
  std::vector<Placed> placed;
  std::vector<std::uint64_t> offsets(layers.tensors.size(), 0);
  const std::vector<Life> life = lives(layers, phases);
  total = 0;
  for (int tensor = 1; tensor < static_cast<int>(layers.tensors.size()); ++tensor) {
    const Life& mine = life[static_cast<std::size_t>(tensor)];
    if (mine.from < 0 || tensor == layers.layers.back().out) continue;
    const std::uint64_t size = align_up(tensor_bytes(layers, tensor) * static_cast<std::uint64_t>(images));
    // The lowest gap among those that live at the same time.
    std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) { return a.at < b.at; });
    std::uint64_t at = 0;
    for (const Placed& other : placed) {
      const bool together = other.life.from <= mine.to && mine.from <= other.life.to;
      if (together && other.at < at + size && at < other.end) at = other.end;
    }
    placed.push_back({mine, at, at + size});
    offsets[static_cast<std::size_t>(tensor)] = at;
    total = std::max(total, at + size);
  }
  return offsets;
}

Program make_program(const Layers& layers, const std::vector<Tile>& tiles, const std::vector<Place>& places,
                     std::size_t weight_bytes, int images, const Machine& machine) {
  if (tiles.size() != layers.layers.size() || places.size() != layers.layers.size())
    throw nvinfer::Failure("plan", "it has tiles or weights for another number of layers", "build the plan again");
  return Maker(layers, tiles, places, weight_bytes, images, machine).make();
}

std::vector<Place> lay_weights(const Layers& layers, const std::vector<Tile>& tiles, int images, const Machine& machine,
                               std::size_t& total) {
  std::vector<Place> places;
  total = 0;
  const auto put = [&](std::size_t size) {
    const std::size_t at = total;
    total = (total + size + 255) / 256 * 256;
    return at;
  };
  for (std::size_t i = 0; i < layers.layers.size(); ++i) {
    const Layer& layer = layers.layers[i];
    Place place;
    if (layer.kind == LayerKind::kConv) {
      const auto conv = describe_conv(layers, layer, tiles[i], images, stack_room(layers, machine));
      place = {put(packed_bytes(*conv)), put(static_cast<std::size_t>(conv->N) * 8)};
    } else if (layer.kind == LayerKind::kDense) {
      const auto classes = static_cast<std::size_t>(layers.out(layer).channels);
      place = {put(classes * static_cast<std::size_t>(pixel_bytes(layers, layer.in))), put(classes * 4)};
    }
    places.push_back(place);
  }
  return places;
}

}  // namespace ferry::latency
