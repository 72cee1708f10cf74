// How a convolution is cut into tiles, and what a tile shape costs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cuda/layers.h"
#include "cuda/phases.h"

namespace ferry::latency {

/// What the planner knows of a GPU.
struct Machine {
  int multiprocessors = 132;
  int shared_bytes = 232448;  // that one block may have
  double clock_ghz = 1.7;
  double l2_gbps = 60;  // what one multiprocessor gets from L2, in bytes a nanosecond
};

/// A tile is wm*mf*16 pixels by wn*nf*8 channels; what is left of the eight warps splits K. `passes` cuts the input
/// channels into parts that fit into shared memory one after the other; the packed weights depend on it.
struct Tile {
  int mf = 1, nf = 1, wm = 1, wn = 1, passes = 1;
  bool operator==(const Tile&) const = default;
};

/// The next power of two from 32 on: what a tensor's channels are padded to, with zeros.
int padded_channels(int channels);

/// The descriptor of a convolution cut this way, without addresses; nothing if the kernel cannot run it so (shared
/// memory, divisibility, a tile that is no power of two). Takes any numbers.
std::optional<ConvDesc> describe_conv(const Layers& layers, const Layer& layer, const Tile& tile, int shared_bytes);

/// Nanoseconds that one tile takes by the model in docs/latency-engine.md.
double tile_cost(const ConvDesc& conv, const Machine& machine);

struct Candidate {
  Tile tile;
  int tiles = 0;  // of one image
  double ns = 0;  // of one tile
};
/// All tile shapes that the kernel can run; with `passes` > 0 only those. May be empty.
std::vector<Candidate> candidates(const Layers& layers, const Layer& layer, const Machine& machine, int passes);

struct Choice {
  std::vector<Tile> tiles;  // one for each layer; of no meaning for pools and the classifier
  double ns = 0;            // of the whole pass, by the model
};
/// The cheapest tiles for a batch of `images`. `fixed`, if given, is an earlier choice whose `passes` must be kept,
/// because the weights are packed for it. Throws nvinfer::Failure naming a layer that fits in no shape.
Choice choose_tiles(const Layers& layers, int images, const Machine& machine, const std::vector<Tile>* fixed = nullptr);

}  // namespace ferry::latency
