#include "cuda/pack.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "cuda/half.h"
#include "cuda/tiles.h"

namespace ferry::latency {
namespace {

std::size_t bytes_of(const ConvDesc& d) { return d.flags & kInt8In ? 1 : 2; }

/// Calls visit(index of the packed value, index of the OIHW value or -1 for a zero) for each packed value in order.
template <typename Visit>
void each_value(const ConvDesc& d, int out_channels, int in_channels, int kernel, const Visit& visit) {
  const int taps = taps_of(d.kind), slices = slices_of(d), strips = (1 << d.tn) / 8,
            each = 16 / static_cast<int>(bytes_of(d));
  const auto source = [&](int n, int slice, int tap, int k) -> std::ptrdiff_t {
    if (d.kind == kStem) {  // a tap is a row of the kernel: eight columns (the first is padding) of four channels
      const int column = k / 4 - 1, channel = k % 4;
      if (n >= out_channels || column < 0 || channel >= in_channels) return -1;
      return ((static_cast<std::ptrdiff_t>(n) * in_channels + channel) * kernel + tap) * kernel + column;
    }
    const int channel = slice * 4 * each + k;
    if (n >= out_channels || channel >= in_channels) return -1;
    return (static_cast<std::ptrdiff_t>(n) * in_channels + channel) * taps + tap;
  };
  std::size_t at = 0;
  for (int tile = 0; tile < d.nt; ++tile)
    for (int slice = 0; slice < d.passes * slices; ++slice)
      for (int tap = 0; tap < taps; ++tap)
        for (int strip = 0; strip < strips; ++strip)
          for (int lane = 0; lane < 32; ++lane)
            for (int value = 0; value < each; ++value) {  // of two products' fragments: two registers of each
              const int reg = each / 4,
                        k = value / (2 * reg) * 8 * reg + value / reg % 2 * 4 * reg + value % reg + lane % 4 * reg;
              visit(at++, source(((tile * strips + strip) * 8) + lane / 4, slice, tap, k));
            }
}

}  // namespace

std::size_t packed_bytes(const ConvDesc& conv) {
  return static_cast<std::size_t>(conv.passes) * static_cast<std::size_t>(slices_of(conv) * taps_of(conv.kind)) *
         static_cast<std::size_t>(conv.N) * 64;
}

std::string pack_conv(const ConvDesc& conv, int out_channels, int in_channels, int kernel, std::string_view oihw) {
  std::string packed(packed_bytes(conv), '\0');
  const std::size_t size = bytes_of(conv);
  each_value(conv, out_channels, in_channels, kernel, [&](std::size_t to, std::ptrdiff_t from) {
    if (from >= 0) std::memcpy(&packed[to * size], &oihw[static_cast<std::size_t>(from) * size], size);
  });
  return packed;
}

std::string unpack_conv(const ConvDesc& conv, int out_channels, int in_channels, int kernel, std::string_view packed) {
  const std::size_t size = bytes_of(conv);
  std::string oihw(static_cast<std::size_t>(out_channels) * static_cast<std::size_t>(in_channels) *
                       static_cast<std::size_t>(kernel * kernel) * size,
                   '\0');
  each_value(conv, out_channels, in_channels, kernel, [&](std::size_t from, std::ptrdiff_t to) {
    if (to >= 0) std::memcpy(&oihw[static_cast<std::size_t>(to) * size], &packed[from * size], size);
  });
  return oihw;
}

std::string pack_dense(int classes, int features, std::string_view weights) {
  const std::size_t row = static_cast<std::size_t>(features) * 2,
                    padded = static_cast<std::size_t>(padded_channels(features)) * 2;
  std::string packed(static_cast<std::size_t>(classes) * padded, '\0');
  for (std::size_t i = 0; i < static_cast<std::size_t>(classes); ++i)
    std::memcpy(&packed[i * padded], &weights[i * row], row);
  return packed;
}

std::vector<float> floats_of(std::string_view halves, int count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t half;
    std::memcpy(&half, &halves[i * 2], 2);
    values[i] = from_half(half);
  }
  return values;
}

std::string dequantised(std::string_view weights, const std::vector<float>& scales) {
  const std::size_t row = weights.size() / scales.size();
  std::string halves(weights.size() * 2, '\0');
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::uint16_t half = to_half(static_cast<float>(static_cast<signed char>(weights[i])) * scales[i / row]);
    std::memcpy(&halves[i * 2], &half, 2);
  }
  return halves;
}

std::string pack_floats(const std::vector<float>& values, int padded) {
  std::string packed(static_cast<std::size_t>(padded) * sizeof(float), '\0');
  if (!values.empty()) std::memcpy(packed.data(), values.data(), values.size() * sizeof(float));
  return packed;
}

float from_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const float sign = bits & 0x8000 ? -1.0F : 1.0F;
  if (exponent == 31)
    return mantissa == 0 ? sign * std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

}  // namespace ferry::latency
