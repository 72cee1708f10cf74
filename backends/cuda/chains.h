// Chains: where a cluster of blocks takes some pixels through several convolutions without the grid's meeting between
// them. Of a bottleneck the 3x3 and the last 1x1, and the first 1x1 of the next: three meetings become one. What is
// exchanged travels between the multiprocessors of a cluster (compute capability 9.0 and later). Weights are read once
// for every cluster, so it pays where many layers of few pixels follow each other: the 14x14 stage of ResNet-50 and
// deeper, one picture.
#pragma once

#include <vector>

#include "cuda/layers.h"
#include "cuda/tiles.h"

namespace ferry::latency {

/// A machine as a plan with chains uses it: only the multiprocessors that lie in clusters. 0 clusters: as it is.
Machine in_clusters(const Machine& machine, int clusters);

/// schedule(layers), with each chain that `clusters` clusters can run as one phase of two or three convolutions.
std::vector<std::vector<int>> schedule(const Layers& layers, int images, int clusters);

/// Whether a phase of schedule() is a chain: its convolutions read each other's results.
bool is_chain(const Layers& layers, const std::vector<int>& phase);

/// How the kernel cuts a chain's convolutions, in their order.
std::vector<Tile> chain_tiles(const Layers& layers, const std::vector<int>& phase);

}  // namespace ferry::latency
