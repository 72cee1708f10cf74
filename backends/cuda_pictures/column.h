// The second kernel: a thread makes one column of a tile, all three channels, from the pixels to the network's values.
//
// It walks down the rows that its tile needs. Of each it reads the aligned words that hold its samples, moves their
// bytes into place and makes three values of them; each becomes the last byte of its channel's window, which holds the
// newest rows. When an output row has all its rows, three sums over the windows make it. So nothing between the passes
// leaves the registers, and no thread waits for another.
#pragma once

#include "cuda_pictures/job.h"

namespace ferry::pictures {

/// How a sum becomes what is stored: looked up, or (where it is the same for all 256 values) by a line, or as it is.
enum Finish { kTable32, kTable16, kLine16, kBytes };

constexpr std::uint32_t kHalf = 1u << 23;  // rounds

/// Samples as they come out of memory, four taps at a time: three words of RGB, behind up to three bytes of others.
template <int kTaps>
struct Samples {
  static constexpr int kWords = (3 * kTaps + 3 + 3) / 4;
  std::uint32_t word[kWords];

  FERRY_HD void fetch(std::uintptr_t address) {
    FERRY_UNROLL
    for (int i = 0; i < kWords; ++i) word[i] = word_at(address + 4 * i);
  }
  /// Bytes 4 i to 4 i + 3, counted from bit `first` on.
  FERRY_HD std::uint32_t at(int i, std::uint32_t first) const {
    return four_of(word[i], i + 1 < kWords ? word[i + 1] : 0, first);
  }
};

/// The top byte of what this gives is the value: the sum of a filter's products, rounded.
template <int kGroups>
FERRY_HD std::uint32_t weighted(const std::uint32_t (&bytes)[kGroups], const Group (&filter)[kGroups]) {
  std::uint32_t high = 0;
  FERRY_UNROLL
  for (int g = 0; g < kGroups; ++g) high = dot4(bytes[g], filter[g].high, high);
  std::uint32_t sum = (high << 16) + kHalf;
  FERRY_UNROLL
  for (int g = 0; g < kGroups; ++g)
    sum = dot2_high(filter[g].low23, bytes[g], dot2_low(filter[g].low01, bytes[g], sum));
  return sum;
}

/// The red, the green and the blue of four neighbouring pixels, as four bytes each; of three taps, the fourth of each
/// is something or other.
template <int kTaps>
FERRY_HD void separate(const Samples<kTaps>& samples, int group, std::uint32_t first, std::uint32_t (&rgb)[3]) {
  const std::uint32_t a = samples.at(3 * group, first), b = samples.at(3 * group + 1, first),
                      c = samples.at(3 * group + 2, first);
  rgb[0] = choose(a, b, 0x6630);
  rgb[1] = choose(a, b, 0x7741);
  rgb[2] = choose(choose(a, b, 0x0052), c, 0x7410);
  if constexpr (kTaps > 3) {
    rgb[0] = choose(rgb[0], c, 0x5210);
    rgb[1] = choose(rgb[1], c, 0x6210);
  }
}

template <int kTaps>
FERRY_HD void shrink_row(const Samples<kTaps>& samples, std::uint32_t first, const Group (&filter)[groups_of(kTaps)],
                         std::uint32_t (&sum)[3]) {
  constexpr int kGroups = groups_of(kTaps);
  std::uint32_t bytes[3][kGroups];
  FERRY_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    std::uint32_t rgb[3];
    separate(samples, g, first, rgb);
    FERRY_UNROLL
    for (int c = 0; c < 3; ++c) bytes[c][g] = rgb[c];
  }
  FERRY_UNROLL
  for (int c = 0; c < 3; ++c) sum[c] = weighted(bytes[c], filter);
}

template <Finish kFinish>
struct Stored;
template <>
struct Stored<kTable32> {
  using Type = std::uint32_t;
};
template <>
struct Stored<kTable16> {
  using Type = std::uint16_t;
};
template <>
struct Stored<kLine16> {
  using Type = std::uint16_t;
};
template <>
struct Stored<kBytes> {
  using Type = std::uint8_t;
};

#ifndef __CUDA_ARCH__
std::uint16_t half_of_line(std::uint32_t value, float scale, float offset);  // of plan.cc
#else
__device__ inline std::uint16_t half_of_sum(std::uint32_t sum, std::uint32_t magic, float scale, float offset) {
  const float value = __uint_as_float(choose(sum, magic, 0x7443)) - 8388608.0f;
  std::uint32_t half;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(half) : "f"(0.0f), "f"(__fmaf_rn(value, scale, offset)));
  return static_cast<std::uint16_t>(half);
}
#endif

/// From sums to what is stored, and where.
template <Finish kFinish>
struct Output {
  using Type = typename Stored<kFinish>::Type;
  char* at;
  std::int64_t channel, row;  // steps, in bytes
  const std::uint32_t* values;
  float scale[3], offset[3];
  std::uint32_t magic;

  FERRY_HD Output(const Job& job, int picture, int y, int x, const std::uint32_t* table) : values(table) {
    constexpr std::int64_t kSize = sizeof(Type);
    const std::int64_t crop = job.crop, first = picture * 3 * crop * crop;
    channel = (job.channels_last ? 1 : crop * crop) * kSize;
    row = (job.channels_last ? 3 * crop : crop) * kSize;
    at = static_cast<char*>(job.out) + first * kSize + y * row + (job.channels_last ? 3 : 1) * x * kSize;
    const std::uint32_t* const line = job.values + kTableWords;
    for (int c = 0; c < 3; ++c) scale[c] = as_float(line[c]), offset[c] = as_float(line[3 + c]);
    magic = line[6];
  }
  FERRY_HD Type of(int c, std::uint32_t sum) const {
    if constexpr (kFinish == kBytes) {
      return static_cast<Type>(sum >> 24);
    } else if constexpr (kFinish == kLine16) {
#ifdef __CUDA_ARCH__
      return half_of_sum(sum, magic, scale[c], offset[c]);
#else
      return half_of_line(sum >> 24, scale[c], offset[c]);
#endif
    } else {
      return static_cast<Type>(values[256 * c + (sum >> 24)]);
    }
  }
  /// Makes a row of the windows and steps to the next.
  template <int kGroups>
  FERRY_HD void make(const std::uint32_t (&window)[3][kGroups], const Group (&filter)[kGroups]) {
    FERRY_UNROLL
    for (int c = 0; c < 3; ++c) *reinterpret_cast<Type*>(at + c * channel) = of(c, weighted(window[c], filter));
    at += row;
  }
};

template <int kGroups>
FERRY_HD void load(const Group* from, Group (&filter)[kGroups]) {
  FERRY_UNROLL
  for (int g = 0; g < kGroups; ++g) filter[g] = from[g];
}

/// A row's three values go behind the others of their windows.
template <int kGroups>
FERRY_HD void push(const std::uint32_t (&sum)[3], std::uint32_t (&window)[3][kGroups]) {
  FERRY_UNROLL
  for (int c = 0; c < 3; ++c) {
    FERRY_UNROLL
    for (int g = 0; g + 1 < kGroups; ++g) window[c][g] = choose(window[c][g], window[c][g + 1], 0x4321);
    window[c][kGroups - 1] = choose(window[c][kGroups - 1], sum[c], 0x7321);
  }
}

/// Column `x` of the rows from `top` on. `filters`: of the tile's rows, and one more whose place is 0; `values`: see
/// Job, unused where nothing is looked up.
template <int kTaps, Finish kFinish>
FERRY_HD void make_column(const Job& job, int picture, int top, int x, const Group* filters,
                          const std::uint32_t* values) {
  constexpr int kGroups = groups_of(kTaps), kAhead = kTaps <= 4 ? 4 : 2;  // rows on their way
  const ferry_image& image = job.images[picture];
  const int rows = job.crop - top < job.tile ? job.crop - top : job.tile;
  Group width[kGroups], height[kGroups];
  load(reinterpret_cast<const Group*>(axis_of(job, picture, 0)) + x * kGroups, width);
  load(filters, height);
  const int earliest = static_cast<int>(height[0].place) - kTaps, begin = earliest > 0 ? earliest : 0;
  // From the next row on: rows until the tile's last one has been read, and until the next output has what it needs.
  int left = static_cast<int>(filters[(rows - 1) * kGroups].place) - begin;
  int due = static_cast<int>(height[0].place) - begin, behind = begin;
  const auto stride = static_cast<std::uintptr_t>(image.stride);
  std::uintptr_t ahead = reinterpret_cast<std::uintptr_t>(job.pixels) + image.offset + 3 * width[0].place +
                         static_cast<std::uintptr_t>(begin) * stride;
  const std::uint32_t first = static_cast<std::uint32_t>(ahead) * 8;  // the same in each row: strides are words
  ahead &= ~std::uintptr_t{3};
  Samples<kTaps> samples[kAhead];
  FERRY_UNROLL
  for (int i = 0; i < kAhead; ++i, ahead += stride)
    if (i < left) samples[i].fetch(ahead);
  Output<kFinish> output(job, picture, top, x, values);
  std::uint32_t window[3][kGroups] = {};
  for (; left > 0; left -= kAhead, due -= kAhead, behind += kAhead) {
    FERRY_UNROLL
    for (int i = 0; i < kAhead; ++i, ahead += stride) {
      std::uint32_t sum[3];
      shrink_row(samples[i], first, width, sum);
      if (kAhead + i < left) samples[i].fetch(ahead);
      push(sum, window);
      while (due == i + 1) {
        output.make(window, height);
        filters += kGroups;
        load(filters, height);
        due = static_cast<int>(height[0].place) - behind;
      }
    }
  }
}

}  // namespace ferry::pictures
