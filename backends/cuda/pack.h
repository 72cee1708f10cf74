// Weights in the order in which the kernel reads them: fragments of mma.m16n8k16, one tile's weights contiguous.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/phases.h"

namespace ferry::latency {

/// Bytes of a convolution's packed weights; the same for all tiles of the same packing.
std::size_t packed_bytes(const ConvDesc& conv);

/// `oihw`: float16 [out][in][kernel][kernel] of a layer with these real channel counts (the padded ones are in `conv`).
std::string pack_conv(const ConvDesc& conv, int out_channels, int in_channels, int kernel, std::string_view oihw);
/// The inverse, for tests and for who wants to look: padding is dropped.
std::string unpack_conv(const ConvDesc& conv, int out_channels, int in_channels, int kernel, std::string_view packed);

/// float16 [classes][features] with the features padded; rows stay in order.
std::string pack_dense(int classes, int features, std::string_view weights);

/// float16 -> float32 for `count` values, padded with zeros to `padded`; all zeros if `bias` is empty.
std::string pack_bias(std::string_view bias, int count, int padded);

/// The value of a float16.
float from_half(std::uint16_t bits);

}  // namespace ferry::latency
