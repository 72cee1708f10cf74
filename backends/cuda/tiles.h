// How a convolution is cut into tiles, and what a tile shape costs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cuda/layers.h"
#include "cuda/phases.h"

namespace ferry::latency {

/// What the planner knows of a GPU; the rest are an H100's figures, in clock cycles of a multiprocessor.
struct Machine {
  int multiprocessors = 132;
  int shared_bytes = 232448;  // that one block may have
  double clock_ghz = 1.755;
  double memory_gbs = 3350;     // of the card: its weights travel every run unless L2 keeps them
  double l2_bytes = 27;         // a cycle and multiprocessor, all of them reading
  double latency = 500;         // of activations
  double product = 8;           // of m16n8k16 on a quarter of a multiprocessor
  double step = 60;             // of a warp, between steps of 32 channels
  double tail = 400;            // of a tile: meeting, summing, storing
  double store = 0.18;          // and so much for each of its elements
  double weights_share = 0.15;  // of the first item's time of weights that is not hidden
  double meeting = 1500;        // of the grid, between phases
  int clusters = 0;             // that run chains (chains.h); if any, `multiprocessors` are those in clusters
};

/// A tile is wm*mf*16 pixels by wn*nf*8 channels; what is left of the eight warps splits K. `passes` cuts the input
/// channels into parts that are in shared memory one after the other.
struct Tile {
  int mf = 1, nf = 1, wm = 1, wn = 1, passes = 1;
  bool operator==(const Tile&) const = default;
  int channels() const { return wn * nf * 8; }
};

/// The next power of two from 64 on: what a tensor's channels are padded to, with zeros.
int padded_channels(int channels);

/// Bytes from one pixel of a tensor to the next: float16 of padded_channels, or int8.
int pixel_bytes(const Layers& layers, int tensor);

/// What a convolution's results are divided by before they are stored: the scale of int8, or 1.
float output_step(const Layers& layers, const Layer& layer);

/// Filter positions, of which each takes its own slice of weights: the stem's rows, the others' pixels.
inline int taps_of(int kind) { return kind == kConv3x3 ? 9 : kind == kConv1x1 ? 1 : 7; }
/// Slices of 64 bytes of the input channels (32 in FP16, 64 in INT8), a pass.
inline int slices_of(const ConvDesc& conv) { return conv.kind == kStem ? 1 : conv.boxes * 2; }

/// The descriptor of a convolution of `images` images cut this way, without addresses; nothing if the kernel cannot run
/// it so (divisibility, a tile that is no power of two, a stack larger than `room`). Takes any numbers.
std::optional<ConvDesc> describe_conv(const Layers& layers, const Layer& layer, const Tile& tile, int images, int room);

/// Bytes of shared memory that the tables and what chains exchange leave to the two stacks. An item whose stack takes
/// more than half of it waits for the one before, and the one behind for it.
int stack_room(const Layers& layers, const Machine& machine);

/// Cycles of a phase in which a block takes `wave_count` of these tiles, from the first byte asked for to the last
/// stored, by the model; the stacks share `room` bytes.
double phase_cost(const ConvDesc& conv, const Machine& machine, int wave_count, int room);

/// One way to cut a phase.
struct PhaseTiles {
  std::vector<Tile> tiles;  // one for each of its layers
  double cycles = 0;        // by the model
};
/// For each phase, in the order of schedule() with the machine's chains, the ways to cut it, the cheapest by the model
/// first: at most `limit`, and none more than `dearest` times as dear as the first. Throws nvinfer::Failure naming a
/// layer that fits in no shape.
std::vector<std::vector<PhaseTiles>> phase_tiles(const Layers& layers, int images, const Machine& machine,
                                                 std::size_t limit, double dearest);

struct Choice {
  std::vector<Tile> tiles;  // one for each layer; of no meaning for pools and the classifier
  double ns = 0;            // of the whole pass, by the model
};
/// The cheapest tiles for a batch of `images`. Throws nvinfer::Failure naming a layer that fits in no shape.
Choice choose_tiles(const Layers& layers, int images, const Machine& machine);

/// Waves of a phase's tiles over the blocks.
inline int waves(int tiles, int blocks) { return (tiles + blocks - 1) / blocks; }

}  // namespace ferry::latency
