// Preparing pictures: what is asked of the kernels, and the weights of each output, compiled for the device by nvcc and
// for the host by the tests. column.h has the rest.
//
// Pillow's antialiased bilinear filter: weights in double, rounded to 22 fractional bits; 8-bit values between the two
// passes. No multiplication may be fused with an addition (-fmad=false), or bits differ.
#pragma once

#include <cstdint>

#include "backend_abi.h"
#include "cuda_pictures/bits.h"

namespace ferry::pictures {

constexpr int kMaxTaps = 2 * FERRY_IMAGES_MOST_SHRINK;  // of one output
constexpr int kSlack = 64;  // bytes behind the last picture that may be read (and count for nothing)
constexpr int kFractionBits = 22;

/// What a network wants of each value.
enum Kind : std::int32_t { kFloat32 = 0, kFloat16 = 1, kUInt8 = 2 };
/// `values`: the bit patterns of each channel's 256 values; then scale and offset of each channel as floats, and a
/// float of 2^23: half(byte * scale + offset) is what the table has, where that is so. (The last three could be
/// constants of the kernel, but the compiler fetches those anew for each output.)
constexpr int kTableWords = 3 * 256, kValueWords = kTableWords + 7;
constexpr std::uint32_t kMagic = 0x4B000000;  // 2^23 as a float: its lowest byte is free for a value

struct Job {
  const std::uint8_t* pixels;  // image staging, on the device; a multiple of 4
  const ferry_image* images;
  std::uint32_t* axes;  // scratch: a Filter for each output of each axis of each picture; a multiple of 16
  const std::uint32_t* values;
  void* out;
  std::int32_t batch, crop, taps;  // taps: of the widest filter, 3, 4, 8 or 16
  std::int32_t tile;               // output rows of one block
  std::int32_t channels_last;
};

/// How one output is made of its samples: for each group of four, one word that says where they are, and their weights.
/// A weight has 24 fractional bits here, so that the value is the top byte of a sum of 32 bits: the upper eight of four
/// weights are one word, the lower sixteen two. Weights are those of 22 bits, and two zeros behind them.
struct Group {
  std::uint32_t place;  // width: the first sample; height: the row behind the last one. Within the part in memory
  std::uint32_t low01, low23, high;
};
FERRY_HD constexpr int groups_of(int taps) { return (taps + 3) / 4; }
FERRY_HD int axis_words(const Job& job) { return job.crop * groups_of(job.taps) * 4; }
FERRY_HD std::uint32_t* axis_of(const Job& job, int picture, int axis) {
  return job.axes + static_cast<std::int64_t>(picture * 2 + axis) * axis_words(job);
}

/// Where an output's samples begin and end along an axis of `in` samples resized to `out`: Pillow's precompute_coeffs.
struct Reach {
  double centre, support;
  int start, end;
};
FERRY_HD Reach reach(int in, int out, int position) {
  const double scale = static_cast<double>(in) / out;
  Reach r{(position + 0.5) * scale, scale > 1.0 ? scale : 1.0, 0, 0};
  // NOLINTNEXTLINE(bugprone-incorrect-roundings)
  r.start = static_cast<int>(r.centre - r.support + 0.5);
  if (r.start < 0) r.start = 0;
  // NOLINTNEXTLINE(bugprone-incorrect-roundings)
  r.end = static_cast<int>(r.centre + r.support + 0.5);
  if (r.end > in) r.end = in;
  return r;
}

FERRY_HD double triangle(double x) {
  if (x < 0) x = -x;
  return x < 1.0 ? 1.0 - x : 0.0;
}

FERRY_HD int between(int value, int least, int most) { return value < least ? least : value > most ? most : value; }

/// Weights 4 g to 4 g + 3 of `fixed`. A weight of exactly one would need a 25th bit and loses its last: alone as it
/// then is, it still gives its sample, whole.
FERRY_HD void pack(const std::int32_t* fixed, std::uint32_t place, std::uint32_t* words) {
  std::uint32_t w[4];
  for (int i = 0; i < 4; ++i) {
    w[i] = static_cast<std::uint32_t>(fixed[i]) << 2;
    if (w[i] > 0xFFFFFF) w[i] = 0xFFFFFF;
  }
  words[0] = place;
  words[1] = (w[0] & 0xFFFF) | w[1] << 16;
  words[2] = (w[2] & 0xFFFF) | w[3] << 16;
  words[3] = w[0] >> 16 | w[1] >> 16 << 8 | w[2] >> 16 << 16 | w[3] >> 16 << 24;
}

/// The first kernel, for each (picture, axis, output). Along the width a filter's first weight is for the sample at
/// `place`; along the height its last one is for the sample before `place`: rows arrive one by one, and the newest is
/// the last byte of a window.
FERRY_HD void weigh(const Job& job, int picture, int axis, int output) {
  const ferry_image& image = job.images[picture];
  const int in = axis == 0 ? image.width : image.height, out = axis == 0 ? image.resized_width : image.resized_height;
  const int part = axis == 0 ? image.part_left : image.part_top;
  const int size = axis == 0 ? image.part_width : image.part_height;
  const int position = output + (axis == 0 ? image.crop_left : image.crop_top);
  const bool inside = position >= 0 && position < out;  // outside is black: no weight at all
  const Reach r = reach(in, out, between(position, 0, out - 1));
  double raw[kMaxTaps], sum = 0;
  const double inverse = 1.0 / r.support;
  for (int t = 0; t < job.taps; ++t) {
    const bool used = inside && r.start + t < r.end;
    raw[t] = used ? triangle((r.start + t - r.centre + 0.5) * inverse) : 0.0;
    sum += raw[t];
  }
  const int groups = groups_of(job.taps);
  const int shift = axis == 0 ? 0 : 4 * groups - (r.end - r.start);
  std::int32_t fixed[kMaxTaps] = {};
  for (int t = 0; t < job.taps; ++t)
    if (raw[t] != 0.0)  // NOLINTNEXTLINE(bugprone-incorrect-roundings)
      fixed[t + shift] = static_cast<std::int32_t>(0.5 + raw[t] / sum * (1 << kFractionBits));
  const int place = axis == 0 ? between(r.start - part, 0, size - 1) : between(r.end - part, 1, size);
  std::uint32_t* const words = axis_of(job, picture, axis) + output * groups * 4;
  for (int g = 0; g < groups; ++g) pack(fixed + 4 * g, static_cast<std::uint32_t>(place), words + 4 * g);
}

}  // namespace ferry::pictures
