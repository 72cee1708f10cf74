// The weights of a plan: every batch reads them in the order of its own tiles.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cuda/layers.h"
#include "cuda/plan_file.h"
#include "cuda/tiles.h"

namespace ferry::latency {

/// Packs the weights for the tiles of each batch, fills its `places` and returns the bytes they point into. Phases
/// whose tiles read the same order (that is, have the same channels) share them; a phase's convolutions stay together,
/// because the blocks bring them into L2 as one piece. `step` is told how many parts of how many are done, and may
/// throw.
std::string pack_weights(const ReadLayers& read, const Machine& machine, std::vector<PlannedBatch>& batches,
                         const std::function<void(std::int64_t done, std::int64_t all)>& step);

}  // namespace ferry::latency
