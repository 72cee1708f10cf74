// The plan file: a preamble, a description in JSON that a person can read, then the packed weights. It holds what was
// decided (layers, tiles), not the kernel's own tables: those are made again at every opening, and checked while they
// are.
//
//   0   "ferrylat"
//   8   format (u32), bytes of the JSON (u32)
//   16  bytes of the file (u64), checksum of all that follows the preamble (u64); little-endian
//   32  the JSON; zeros up to a multiple of 256; the weights
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/layers.h"
#include "cuda/program.h"
#include "cuda/tiles.h"
#include "nvinfer/profiles.h"

namespace ferry::latency {

struct PlannedBatch {
  int images = 1;
  std::vector<Tile> tiles;    // one for each layer
  std::vector<Place> places;  // one for each layer; batches whose tiles read the same packing may share them
  double predicted_ms = 0;    // by the model, on the GPU that the plan was made for
  int clusters = 0;           // with chains for so many (chains.h), all that the GPU forms; 0: without
  bool operator==(const PlannedBatch&) const = default;
};

struct Plan {
  std::string gpu, compute_capability;  // what it was made for
  int multiprocessors = 0, shared_bytes = 0;
  Layers layers;
  std::vector<nvinfer::Profile> profiles;
  std::vector<PlannedBatch> batches;  // every batch of the profiles, ascending
  std::string_view weights;           // owned by someone else
};

/// Everything before the weights: write this, then plan.weights.
std::string plan_head(const Plan& plan);

/// Of all that follows the preamble. Finds damage, not malice.
std::uint64_t checksum_of(std::string_view bytes);

/// Any bytes may be given. Layers are checked (check_layers); tiles and places when programs are made from them. The
/// result's weights point into `bytes`. Throws nvinfer::Failure.
Plan read_plan(std::string_view bytes);

}  // namespace ferry::latency
