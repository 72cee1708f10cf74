// Weights in the order in which the kernel reads them: fragments of mma.m16n8k16 (float16) or m16n8k32 (int8), one
// tile's weights contiguous.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/phases.h"

namespace ferry::latency {

/// Bytes of a convolution's packed weights; the same for all tiles of the same packing.
std::size_t packed_bytes(const ConvDesc& conv);

/// `oihw`: [out][in][kernel][kernel], float16 or, where `conv` reads int8, int8, of a layer with these real channel
/// counts (the padded ones are in `conv`).
std::string pack_conv(const ConvDesc& conv, int out_channels, int in_channels, int kernel, std::string_view oihw);
/// The inverse, for tests and for who wants to look: padding is dropped.
std::string unpack_conv(const ConvDesc& conv, int out_channels, int in_channels, int kernel, std::string_view packed);

/// float16 [classes][features] with the features padded; rows stay in order.
std::string pack_dense(int classes, int features, std::string_view weights);

/// `count` float16 as floats.
std::vector<float> floats_of(std::string_view halves, int count);
/// Int8 [rows][values] with a scale for each row, as float16.
std::string dequantised(std::string_view weights, const std::vector<float>& scales);
/// The bytes of `values`, padded with zeros to `padded` of them.
std::string pack_floats(const std::vector<float>& values, int padded);

/// The value of a float16.
float from_half(std::uint16_t bits);

}  // namespace ferry::latency
