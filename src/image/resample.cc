#include "image/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

// Compiled for several instruction sets and chosen when the program starts; not under sanitizers, which come up later.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define FERRY_CLONES __attribute__((target_clones("avx2", "sse4.1", "default")))
#else
#define FERRY_CLONES
#endif

namespace ferry {
namespace {

constexpr int kFractionBits = 32 - 8 - 2;
constexpr std::int32_t kHalf = 1 << (kFractionBits - 1);

double triangle(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

using Bytes4 = std::uint8_t __attribute__((vector_size(4)));
using Ints4 = std::int32_t __attribute__((vector_size(16)));

FERRY_CLONES void resample_pixels(const ResampleAxis::Output* outputs, std::size_t count, const std::int32_t* weights,
                                  const std::uint8_t* row, std::uint8_t* to) {
  for (std::size_t i = 0; i < count; ++i, to += 3) {
    const ResampleAxis::Output& output = outputs[i];
    const std::int32_t* weight = weights + output.weights;
    const std::uint8_t* pixel = row + std::size_t{3} * output.start;
    Ints4 sum{kHalf, kHalf, kHalf, kHalf};
    for (int t = 0; t < output.taps; ++t, pixel += 3) {
      Bytes4 bytes;
      std::memcpy(&bytes, pixel, 4);
      sum += __builtin_convertvector(bytes, Ints4) * weight[t];
    }
    sum >>= kFractionBits;
    for (int c = 0; c < 3; ++c) to[c] = static_cast<std::uint8_t>(std::min(sum[c], 255));
  }
}

FERRY_CLONES void weigh_rows(const std::int32_t* weights, int taps, const std::uint8_t* from, std::size_t stride,
                             std::size_t bytes, std::uint8_t* to) {
  for (std::size_t block = 0; block < bytes; block += kRowSlack) {
    std::int32_t sum[kRowSlack];
    for (std::int32_t& s : sum) s = kHalf;
    for (int t = 0; t < taps; ++t) {
      const std::uint8_t* row = from + t * stride + block;
      const std::int32_t weight = weights[t];
      for (std::size_t i = 0; i < kRowSlack; ++i) sum[i] += weight * row[i];
    }
    for (std::size_t i = 0; i < kRowSlack; ++i)
      to[block + i] = static_cast<std::uint8_t>(std::min(sum[i] >> kFractionBits, 255));
  }
}

}  // namespace

namespace {

// Pillow's precompute_coeffs: the samples that one output is made of.
struct Reach {
  double centre;
  int start, end;
};
Reach reach(int in, double scale, double support, int output) {
  const double centre = (output + 0.5) * scale;
  // NOLINTBEGIN(bugprone-incorrect-roundings): Pillow rounds so, negative numbers towards zero included
  return {centre, std::max(static_cast<int>(centre - support + 0.5), 0),
          std::min(static_cast<int>(centre + support + 0.5), in)};
  // NOLINTEND(bugprone-incorrect-roundings)
}

}  // namespace

SourceSpan source_span(int in, int out, int first, int count) {
  if (count < 1) return {};
  const double scale = static_cast<double>(in) / out;
  const double support = std::max(scale, 1.0);
  return {reach(in, scale, support, first).start, reach(in, scale, support, first + count - 1).end};
}

void ResampleAxis::assign(int in, int out, int first, int count) {
  outputs.clear();
  weights.clear();
  source_first = in;
  source_end = 0;
  const double scale = static_cast<double>(in) / out;
  const double support = std::max(scale, 1.0);  // the triangle reaches one (scaled) sample to each side
  const double inverse = 1.0 / support;
  std::vector<double> raw;
  for (int o = first; o < first + count; ++o) {
    const auto [centre, start, end] = reach(in, scale, support, o);
    raw.clear();
    double sum = 0;
    for (int s = start; s < end; ++s) {
      raw.push_back(triangle((s - centre + 0.5) * inverse));
      sum += raw.back();
    }
    outputs.push_back({start, end - start, weights.size()});
    for (const double w : raw)
      // NOLINTNEXTLINE(bugprone-incorrect-roundings): as Pillow
      weights.push_back(static_cast<std::int32_t>(0.5 + (sum != 0.0 ? w / sum : w) * (1 << kFractionBits)));
    source_first = std::min(source_first, start);
    source_end = std::max(source_end, end);
  }
}

void resample_row(const ResampleAxis& axis, const std::uint8_t* row, std::uint8_t* to) {
  resample_pixels(axis.outputs.data(), axis.outputs.size(), axis.weights.data(), row, to);
}

void resample_column(const ResampleAxis& axis, std::size_t output, Rows from, std::size_t bytes, std::uint8_t* to) {
  const ResampleAxis::Output& o = axis.outputs[output];
  const std::size_t skipped = static_cast<std::size_t>(o.start - axis.source_first);
  weigh_rows(axis.weights.data() + o.weights, o.taps, from.first + skipped * from.stride, from.stride, bytes, to);
}

bool height_first(int in_width, int in_height, int out_width, int out_height) {
  const std::int64_t shrink = std::int64_t{in_height} - out_height;
  return shrink > 0 && shrink > (std::int64_t{in_width} - out_width) * 2;
}

}  // namespace ferry
