#include "cuda/tiles.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace ferry::latency {
namespace {

constexpr int kLargestTile = 8192;

std::int64_t align_up(std::int64_t value, std::int64_t to) { return (value + to - 1) / to * to; }
bool power_of_two(int value) { return value > 0 && (value & (value - 1)) == 0; }
int log2_of(int value) { return std::bit_width(static_cast<unsigned>(value)) - 1; }

int tile_m(const ConvDesc& c) { return 16 << (c.wm + (c.cfg >> 2)); }
int tile_n(const ConvDesc& c) { return 1 << c.tn; }

/// Whether the warps and fragments of a tile are ones that the kernel was compiled for.
bool possible(const Tile& t) {
  const bool fragments = (t.mf == 1 || t.mf == 2) && (t.nf == 1 || t.nf == 2 || t.nf == 4);
  return fragments && power_of_two(t.wm) && power_of_two(t.wn) && t.wm <= kWarps && t.wn <= kWarps &&
         t.wm * t.wn <= kWarps && power_of_two(t.passes) && t.passes <= 64;
}

ConvDesc shape_of(const Layers& layers, const Layer& layer, int images) {
  const Shape &in = layers.in(layer), &out = layers.out(layer);
  ConvDesc d{};
  d.kind = layer.kernel == 7 ? kStem : layer.kernel == 3 ? kConv3x3 : kConv1x1;
  d.stride = static_cast<std::uint8_t>(layer.stride);
  d.H = in.height;
  d.W = in.width;
  d.C = d.kind == kStem ? 4 : pixel_bytes(layers, layer.in) / 2;
  d.OH = out.height;
  d.OW = out.width;
  d.N = padded_channels(out.channels);
  d.M = images * d.OH * d.OW;
  d.relu = layer.relu ? 1 : 0;
  d.flags = static_cast<std::uint8_t>((layers.scale(layer.in) > 0 ? kInt8In : 0) |
                                      (layers.scale(layer.out) > 0 ? kInt8Out : 0));
  if (layer.residual >= 0 && layers.scale(layer.residual) > 0)
    d.residual_factor = layers.scale(layer.residual) / output_step(layers, layer);
  return d;
}

/// Pixels that a tile reads at most; for the strided 1x1: rows.
std::int64_t tile_pixels(const ConvDesc& d) {
  const int TM = tile_m(d);
  if (d.kind == kConv1x1 && d.stride == 1) return std::min<std::int64_t>(TM, align_up(d.M, 8));
  if (d.kind == kConv3x3 && d.stride == 1) return TM + 2 * d.W + 2;
  std::int64_t most = 0;
  for (int t = 0; t < d.mt; ++t) {
    const std::int64_t from = static_cast<std::int64_t>(t) * TM,
                       rows = (std::min<std::int64_t>(from + TM, d.M) - 1) / d.OW - from / d.OW;
    most = std::max(most, d.kind == kConv1x1 ? rows + 1 : (2 * rows + 3) * d.W);
  }
  return most;
}

/// How the activations of an item arrive: boxes of 128 bytes, each in chunks of at most 256 rows. Their bytes; 0 if
/// they cannot.
std::int64_t lay_activations(ConvDesc& d) {
  if (d.kind == kStem) {
    d.boxes = d.chunks = 1;
    const std::int64_t rows = (tile_m(d) - 2) / d.OW + 2;
    return (2 * (rows - 1) + 7) * (d.W + 8) * 8;
  }
  const int boxes = d.C / d.passes / 64;
  const std::int64_t pixels = tile_pixels(d);
  std::int64_t chunks = 1, rows = pixels, width = d.OW, span = 1;
  if (d.kind != kConv1x1 || d.stride == 1) {
    width = 1;
    chunks = (pixels + 255) / 256;
    rows = align_up((pixels + chunks - 1) / chunks, 8);
    span = chunks > 1 ? 1 : boxes;
  }
  if (rows > 256 || width > 256 || chunks > 255 || boxes > 255) return 0;
  d.boxes = static_cast<std::uint8_t>(boxes);
  d.chunks = static_cast<std::uint8_t>(chunks);
  d.rows = static_cast<int>(rows);
  d.width = static_cast<int>(width);
  d.span = static_cast<int>(span);
  const std::int64_t box = align_up(chunks * rows * width * 128, 1024);
  if (box > 1 << 20) return 0;
  d.box_bytes = static_cast<int>(box);
  return box * boxes;
}

/// Weights, then activations, which partial sums replace.
bool place(ConvDesc& d, int room) {
  const std::int64_t activations = lay_activations(d);
  if (activations <= 0) return false;
  const std::int64_t weights = static_cast<std::int64_t>(slices_of(d)) * taps_of(d.kind) * tile_n(d) * 64,
                     sums = static_cast<std::int64_t>(tile_m(d)) * (tile_n(d) + 8) * 4 << d.wk,
                     a_off = align_up(weights, 1024), stack = a_off + align_up(std::max(activations, sums), 1024);
  if (stack > room) return false;
  d.a_off = static_cast<int>(a_off);
  d.stack = static_cast<int>(stack);
  return true;
}

/// Whether the kernel's arithmetic holds for these sizes: reciprocals of 32 bits, byte offsets that fit an int, and
/// rows of images that follow each other at the same distance on both sides of a stride.
bool sizes_hold(const ConvDesc& d, int images) {
  const std::int64_t pixels = static_cast<std::int64_t>(images) * d.H * d.W;
  const bool even = d.stride == 1 || d.kind == kStem || images == 1 || d.H % 2 == 0;
  return even && static_cast<std::int64_t>(d.M) * std::max({d.OW, d.OH, d.nt}) < std::int64_t{1} << 32 &&
         pixels * d.C * 2 < std::int64_t{1} << 31 && static_cast<std::int64_t>(d.M) * d.N * 2 < std::int64_t{1} << 31;
}

}  // namespace

int padded_channels(int channels) {
  return std::max(64, static_cast<int>(std::bit_ceil(static_cast<unsigned>(std::max(channels, 1)))));
}

int pixel_bytes(const Layers& layers, int tensor) {
  const int channels = padded_channels(layers.tensors[static_cast<std::size_t>(tensor)].channels);
  return layers.scale(tensor) > 0 ? int8_pitch(channels) : channels * 2;
}

float output_step(const Layers& layers, const Layer& layer) {
  const float scale = layers.scale(layer.out);
  return scale > 0 ? scale : 1;
}

std::optional<ConvDesc> describe_conv(const Layers& layers, const Layer& layer, const Tile& tile, int images,
                                      int room) {
  if (!possible(tile)) return std::nullopt;
  ConvDesc d = shape_of(layers, layer, images);
  d.cfg = static_cast<std::uint8_t>(log2_of(tile.mf) * 4 + log2_of(tile.nf));
  d.wm = static_cast<std::uint8_t>(log2_of(tile.wm));
  d.wn = static_cast<std::uint8_t>(log2_of(tile.wn));
  d.wk = static_cast<std::uint8_t>(3 - d.wm - d.wn);
  d.passes = static_cast<std::uint8_t>(tile.passes);
  d.tn = static_cast<std::uint8_t>(log2_of(tile.channels()));
  const int TM = tile_m(d);
  if (d.N % tile_n(d) != 0) return std::nullopt;
  if (d.kind == kStem) {
    if ((d.cfg != 6 && d.cfg != 1) || d.wk > 0 || d.passes > 1) return std::nullopt;
  } else if (d.C % (64 * d.passes) != 0 || d.C / d.passes / 32 < 1 << d.wk || TM * tile_n(d) > kLargestTile) {
    return std::nullopt;
  }
  d.mt = d.kind == kStem ? images * waves(d.OH * d.OW, TM) : waves(d.M, TM);
  d.nt = d.N / tile_n(d);
  d.by_ow = magic(static_cast<std::uint32_t>(d.OW));
  d.by_oh = magic(static_cast<std::uint32_t>(d.OH));
  d.by_nt = magic(static_cast<std::uint32_t>(d.nt));
  if (!sizes_hold(d, images) || !place(d, room)) return std::nullopt;
  return d;
}

int stack_room(const Layers& layers, const Machine& machine) {
  int convs = 0;
  for (const Layer& layer : layers.layers) convs += layer.kind == LayerKind::kConv;
  // Chains make fewer phases: the kernel then has more room than this.
  const int tables = table_bytes(static_cast<int>(schedule(layers).size()), convs);
  return (machine.shared_bytes / 1024 - tables / 1024) * 1024 - (machine.clusters > 0 ? kExchangeBytes : 0);
}

double phase_cost(const ConvDesc& d, const Machine& machine, int wave_count, int room) {
  const int TM = tile_m(d), TN = tile_n(d), MF = 1 << (d.cfg >> 2), NF = 1 << (d.cfg & 3), taps = taps_of(d.kind),
            slices = slices_of(d), items = wave_count * d.passes;
  const double steps = std::ceil(static_cast<double>(slices) / (1 << d.wk)) * taps;  // of a warp, a pass
  const double tensor = steps * MF * NF * 4 * machine.product, shared = steps * 8 * (MF * 1024 + NF * 512) / 128.0,
               chain = steps * (machine.step + MF * NF * 2 * machine.product);
  const double products = std::max({tensor, shared, chain}) + (d.kind == kConv3x3 ? 30 * steps : 0) + 250;
  const double a = d.kind == kStem ? 20000 : static_cast<double>(d.boxes) * d.box_bytes,
               b = static_cast<double>(slices) * taps * TN * 64;
  const double load = (a + b) / machine.l2_bytes;
  const double tail = machine.tail + TM * TN * machine.store + static_cast<double>(1 << d.wk) * TM * TN / 128;
  const double more_items = (items - 1) * std::max(products + tail / d.passes, load);
  const double alone = 2 * d.stack > room ? items * (load + machine.latency) : 0;  // nothing arrives meanwhile
  return machine.latency + a / machine.l2_bytes + products + more_items + tail +
         machine.weights_share * b / machine.l2_bytes + alone;
}

}  // namespace ferry::latency
