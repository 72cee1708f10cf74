// Layers and tiles -> the table of phases that the kernel runs, with every address.
#pragma once

#include <cstddef>
#include <vector>

#include "cuda/layers.h"
#include "cuda/phases.h"
#include "cuda/tiles.h"

namespace ferry::latency {

/// Where a layer's values lie in the packed weights.
struct Place {
  std::uint64_t weights = 0, bias = 0;  // byte offsets
  bool operator==(const Place&) const = default;
};

struct Program {
  std::vector<Phase> phases;
  std::vector<ConvDesc> convs;
  std::size_t arena_bytes = 0;  // activations of all images
  int exchange_bytes = 0;       // of shared memory, for chains
};

/// For a batch of `images` on `machine`, with the chains that it can run. `layers` must have passed check_layers; tiles
/// and places may be anything: what does not fit the kernel, the GPU's shared memory or `weight_bytes` throws
/// nvinfer::Failure.
Program make_program(const Layers& layers, const std::vector<Tile>& tiles, const std::vector<Place>& places,
                     std::size_t weight_bytes, int images, const Machine& machine);

/// Places for weights that are not there, one after another, for who needs a program and no network (measuring, tests);
/// their bytes are stored in `total`.
std::vector<Place> lay_weights(const Layers& layers, const std::vector<Tile>& tiles, int images, const Machine& machine,
                               std::size_t& total);

/// Byte offsets for each tensor in one arena, so that no two that are needed in the same phase overlap; the total is
/// stored. Tensor 0, the input, is not in it.
std::vector<std::uint64_t> place_tensors(const Layers& layers, const std::vector<std::vector<int>>& phases, int images,
                                         std::uint64_t& total);

/// Bytes of a tensor for one image: padded float16 or int8 channels; float32 for what the global average makes.
std::uint64_t tensor_bytes(const Layers& layers, int tensor);

}  // namespace ferry::latency
