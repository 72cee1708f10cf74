#include "cuda/tiles.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

constexpr double kMeetingNs = 1100, kPoolNs = 500;  // measured on an H100 (docs/benchmarks/log.md)

int align_up(int value, int to) { return (value + to - 1) / to * to; }
bool power_of_two(int value) { return value > 0 && (value & (value - 1)) == 0; }
int log2_of(int value) { return std::bit_width(static_cast<unsigned>(value)) - 1; }

int tile_m(const ConvDesc& c) { return c.wm * 16 << (c.cfg >> 2); }
int tile_n(const ConvDesc& c) { return c.wn * 8 << (c.cfg & 3); }

/// Whether the warps and fragments of a tile are ones that the kernel was compiled for.
bool possible(const Tile& t) {
  const bool fragments = (t.mf == 1 || t.mf == 2) && (t.nf == 1 || t.nf == 2 || t.nf == 4);
  return fragments && power_of_two(t.wm) && power_of_two(t.wn) && t.wm <= kWarps && t.wn <= kWarps &&
         t.wm * t.wn <= kWarps && power_of_two(t.passes) && t.passes <= 64;
}

ConvDesc shape_of(const Layers& layers, const Layer& layer) {
  const Shape &in = layers.in(layer), &out = layers.out(layer);
  ConvDesc d{};
  d.kind = layer.kernel == 7 ? kStem : layer.kernel == 3 ? kConv3x3 : kConv1x1;
  d.stride = layer.stride;
  d.H = in.height;
  d.W = in.width;
  d.C = d.kind == kStem ? 4 : padded_channels(in.channels);
  d.OH = out.height;
  d.OW = out.width;
  d.N = padded_channels(out.channels);
  d.M = d.OH * d.OW;
  d.relu = layer.relu ? 1 : 0;
  return d;
}

/// Input pixels (of the padded rows, for the stem) that the largest tile holds in shared memory.
int largest_slots(const ConvDesc& d, int TM) {
  int slots = 0;
  for (int m0 = 0; m0 < d.M; m0 += TM) {
    const int last = std::min(m0 + TM, d.M) - 1, y0 = m0 / d.OW, y1 = last / d.OW;
    int n = last - m0 + 1;
    if (d.kind == kStem) {
      n = (2 * (y1 - y0) + 7) * (d.W + 8);
    } else if (d.kind == kConv3x3) {
      const int from = d.stride == 1 ? m0 - d.W - 1 : (2 * y0 - 1) * d.W;
      const int to = d.stride == 1 ? last + d.W + 2 : (2 * y1 + 2) * d.W;
      n = std::min(d.H * d.W, to) - std::max(0, from);
    }
    slots = std::max(slots, n);
  }
  return slots;
}

int partial_sum_bytes(const ConvDesc& d) {
  const int TN = tile_n(d);
  return d.wk * tile_m(d) * (TN == 8 ? 8 : TN + 8) * 4;
}
int weight_bytes(const ConvDesc& d) { return tile_n(d) / 8 * d.k32 * 512; }
std::int64_t activation_bytes(const ConvDesc& d) {
  const std::int64_t slots = largest_slots(d, tile_m(d));
  return d.kind == kStem ? slots * 8 : std::max<std::int64_t>(slots, tile_m(d)) * d.pitch;
}

/// Cuts the input channels; false if they cannot be cut so.
bool cut_channels(ConvDesc& d) {
  if (d.kind == kStem) {
    if (d.passes != 1) return false;
    d.chunk = 32;  // eight columns of four channels
    d.k32 = 7;
  } else {
    if (d.C % d.passes != 0) return false;
    d.chunk = d.C / d.passes;
    if (d.chunk < 32 || !power_of_two(d.chunk)) return false;
    d.pitch = d.chunk * 2 + 16;  // eight rows land in different banks
    d.k32 = (d.kind == kConv3x3 ? 9 : 1) * d.chunk / 32;
  }
  d.step_shift = log2_of(d.chunk / 32);
  d.chunk_shift = log2_of(d.chunk / 8);
  for (int tap = 0; tap < 9; ++tap)
    d.tap_off[tap] = d.kind == kConv3x3 ? ((tap / 3 - 1) * d.W + tap % 3 - 1) * d.pitch
                     : d.kind == kStem  ? tap * (d.W + 8) * 8
                                        : 0;
  return true;
}

/// Weights, then what the epilogue adds, then activations, which partial sums replace. False if it is too much.
bool place(ConvDesc& d, int shared_bytes) {
  const int TM = tile_m(d), TN = tile_n(d);
  d.smem_b = align_up(kSmemHead, 128);
  const std::int64_t r = d.smem_b + static_cast<std::int64_t>(TN / 8) * d.k32 * 512;
  if (r > shared_bytes) return false;
  d.smem_r = align_up(static_cast<int>(r), 128);
  d.smem_a = align_up(d.smem_r + TN * 4 + TM * TN * 2, 128);
  return d.smem_a + std::max<std::int64_t>(activation_bytes(d), partial_sum_bytes(d)) <= shared_bytes;
}

}  // namespace

int padded_channels(int channels) {
  return std::max(32, static_cast<int>(std::bit_ceil(static_cast<unsigned>(std::max(channels, 1)))));
}

std::optional<ConvDesc> describe_conv(const Layers& layers, const Layer& layer, const Tile& tile, int shared_bytes) {
  if (!possible(tile)) return std::nullopt;
  ConvDesc d = shape_of(layers, layer);
  d.cfg = log2_of(tile.mf) * 4 + log2_of(tile.nf);
  d.wm = tile.wm;
  d.wn = tile.wn;
  d.wk = kWarps / (tile.wm * tile.wn);
  d.passes = tile.passes;
  if (d.N % tile_n(d) != 0 || !cut_channels(d)) return std::nullopt;
  d.mt = (d.M + tile_m(d) - 1) / tile_m(d);
  d.nt = d.N / tile_n(d);
  if (!place(d, shared_bytes)) return std::nullopt;
  return d;
}

double tile_cost(const ConvDesc& d, const Machine& machine) {
  const int fragments = (1 << (d.cfg & 3)) * (1 << (d.cfg >> 2));
  const double a = static_cast<double>(activation_bytes(d));
  const int b = weight_bytes(d), sums = partial_sum_bytes(d);
  const int steps = (d.k32 + d.wk - 1) / d.wk * d.passes;
  const double products = steps * std::max(fragments * 26.0, 55 + fragments * 13.0);
  const double summing = sums * 2.0 / 100 + 60;
  const double bytes = a * (d.kind == kStem ? 3.0 : 1.0) + b * (0.1 + (d.passes > 1 ? 0.65 : 0.0));
  return 700.0 * d.passes + d.passes * bytes / machine.l2_gbps + (products + summing) / machine.clock_ghz +
         tile_m(d) * tile_n(d) / machine.l2_gbps;
}

std::vector<Candidate> candidates(const Layers& layers, const Layer& layer, const Machine& machine, int passes) {
  std::vector<Candidate> all;
  Tile t;
  for (t.mf = 1; t.mf <= 2; t.mf *= 2)
    for (t.nf = 1; t.nf <= 4; t.nf *= 2)
      for (t.wm = 1; t.wm <= kWarps; t.wm *= 2)
        for (t.wn = 1; t.wm * t.wn <= kWarps; t.wn *= 2)
          for (t.passes = 1; t.passes <= 16; t.passes *= 2) {
            if (passes > 0 && t.passes != passes) continue;
            const auto d = describe_conv(layers, layer, t, machine.shared_bytes);
            if (d) all.push_back({t, d->mt * d->nt, tile_cost(*d, machine)});
          }
  return all;
}

Choice choose_tiles(const Layers& layers, int images, const Machine& machine, const std::vector<Tile>* fixed) {
  Choice choice;
  choice.tiles.resize(layers.layers.size());
  const auto waves = [&](int tiles) {
    return std::ceil(static_cast<double>(tiles) * images / machine.multiprocessors);
  };
  for (const std::vector<int>& phase : schedule(layers)) {
    choice.ns += kMeetingNs;
    if (layers.layers[static_cast<std::size_t>(phase[0])].kind != LayerKind::kConv) {
      choice.ns += kPoolNs;
      continue;
    }
    std::vector<std::vector<Candidate>> options;
    for (const int i : phase) {
      const auto index = static_cast<std::size_t>(i);
      options.push_back(candidates(layers, layers.layers[index], machine, fixed ? (*fixed)[index].passes : 0));
      if (options.back().empty())
        throw nvinfer::Failure("layer '" + layers.layers[index].name + "'",
                               "layer '" + layers.layers[index].name + "' fits into no tile with " +
                                   std::to_string(machine.shared_bytes) + " bytes of shared memory",
                               "use --backend tensorrt for this model", FERRY_UNSUPPORTED);
    }
    if (options.size() == 1) options.push_back({Candidate{{}, 0, 0}});
    double best = INFINITY;
    for (const Candidate& a : options[0])
      for (const Candidate& b : options[1]) {
        const double ns = waves(a.tiles + b.tiles) * std::max(a.ns, b.ns);
        if (ns >= best) continue;
        best = ns;
        choice.tiles[static_cast<std::size_t>(phase[0])] = a.tile;
        if (phase.size() > 1) choice.tiles[static_cast<std::size_t>(phase[1])] = b.tile;
      }
    choice.ns += best;
  }
  return choice;
}

}  // namespace ferry::latency
