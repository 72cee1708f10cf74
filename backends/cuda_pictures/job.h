// Preparing pictures: the arithmetic of each thread, compiled for the device by nvcc and for the host by the tests,
// which run the same phases thread by thread.
//
// Pillow's antialiased bilinear filter: weights in double, rounded to 22 fractional bits; 8-bit values between the two
// passes. A weight of 0 may read what lies behind a row: kSlack bytes after the last picture and kMaxTaps rows of
// shared memory are there for that. No multiplication may be fused with an addition (-fmad=false), or bits differ.
#pragma once

#include <cstdint>

#include "backend_abi.h"

#ifdef __CUDACC__
#define FERRY_HD __host__ __device__ inline
#else
#define FERRY_HD inline
#endif

namespace ferry::pictures {

constexpr int kMaxTaps = 2 * FERRY_IMAGES_MOST_SHRINK;  // of one output
constexpr int kSlack = 64;
constexpr int kFractionBits = 22;

/// What a network wants of each value; `values` has 3 x 256 of them as bit patterns.
enum Kind : std::int32_t { kFloat32 = 0, kFloat16 = 1, kUInt8 = 2 };

struct Job {
  const std::uint8_t* pixels;  // image staging, on the device
  const ferry_image* images;
  std::int32_t* axes;  // scratch: axis_ints(crop) for each axis of each picture
  const std::uint32_t* values;
  void* out;
  std::int32_t batch, crop, taps;  // taps: of the weights, of all pictures; what is not needed is 0
  std::int32_t tile;               // output rows of one block
  Kind kind;
  std::int32_t channels_last;
};

FERRY_HD int axis_ints(const Job& job) { return job.crop * (1 + job.taps); }
FERRY_HD std::int32_t* axis_of(const Job& job, int picture, int axis) {
  return job.axes + static_cast<std::int64_t>(picture * 2 + axis) * axis_ints(job);
}
/// Bytes of one channel of one row between the passes: whole words.
FERRY_HD int pitch(const Job& job) { return (job.crop + 3) / 4 * 4; }

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

/// The first kernel, for each (picture, axis, output): first sample (within the part that is in memory), then weights.
FERRY_HD void weigh(const Job& job, int picture, int axis, int output) {
  const ferry_image& image = job.images[picture];
  const int in = axis == 0 ? image.width : image.height, out = axis == 0 ? image.resized_width : image.resized_height;
  const int part = axis == 0 ? image.part_left : image.part_top;
  const int position = output + (axis == 0 ? image.crop_left : image.crop_top);
  std::int32_t* const start = axis_of(job, picture, axis) + output;
  std::int32_t* const weights = start + job.crop;
  const bool inside = position >= 0 && position < out;  // outside is black: no weight at all
  const Reach r = reach(in, out, inside ? position : position < 0 ? 0 : out - 1);
  *start = r.start - part;
  double raw[kMaxTaps], sum = 0;
  const double inverse = 1.0 / r.support;
  for (int t = 0; t < job.taps; ++t) {
    const bool used = inside && r.start + t < r.end;
    raw[t] = used ? triangle((r.start + t - r.centre + 0.5) * inverse) : 0.0;
    sum += raw[t];
  }
  for (int t = 0; t < job.taps; ++t)
    // NOLINTNEXTLINE(bugprone-incorrect-roundings)
    weights[t * job.crop] = raw[t] == 0.0 ? 0 : static_cast<std::int32_t>(0.5 + raw[t] / sum * (1 << kFractionBits));
}

FERRY_HD std::uint32_t rounded(std::int32_t sum) {
  sum >>= kFractionBits;
  return static_cast<std::uint32_t>(sum > 255 ? 255 : sum);
}

/// Source rows that a tile of output rows reads: [first, end) of the part in memory.
struct Rows {
  int first, end;
};
FERRY_HD Rows rows_of(const Job& job, int picture, int top) {
  const std::int32_t* const start = axis_of(job, picture, 1);
  const int last = (top + job.tile < job.crop ? top + job.tile : job.crop) - 1;
  const int height = job.images[picture].part_height, end = start[last] + job.taps;
  return {start[top], end < height ? end : height};
}

/// First pass of the second kernel: thread (tx of nx, ty of ny) resamples columns tx, tx + nx, ... of rows ty, ty + ny,
/// ... into `between`: for each row three channels of pitch(job) bytes.
template <int kTaps>
FERRY_HD void shrink_width(const Job& job, int picture, Rows rows, int tx, int nx, int ty, int ny,
                           std::uint8_t* between) {
  const ferry_image& image = job.images[picture];
  const std::int32_t* const start = axis_of(job, picture, 0);
  const int step = pitch(job);
  for (int x = tx; x < job.crop; x += nx) {
    std::int32_t weight[kTaps];
    for (int t = 0; t < kTaps; ++t) weight[t] = start[(1 + t) * job.crop + x];
    const std::uint8_t* const column = job.pixels + image.offset + 3 * static_cast<std::int64_t>(start[x]);
    for (int row = rows.first + ty; row < rows.end; row += ny) {
      const std::uint8_t* const pixel = column + static_cast<std::int64_t>(row) * image.stride;
      std::int32_t sum[3] = {1 << (kFractionBits - 1), 1 << (kFractionBits - 1), 1 << (kFractionBits - 1)};
      for (int t = 0; t < kTaps; ++t)
        for (int c = 0; c < 3; ++c) sum[c] += weight[t] * pixel[3 * t + c];
      std::uint8_t* const to = between + (row - rows.first) * 3 * step + x;
      for (int c = 0; c < 3; ++c) to[c * step] = static_cast<std::uint8_t>(rounded(sum[c]));
    }
  }
}

struct Quad {
  std::uint32_t v[4];
};

FERRY_HD void store(const Job& job, int picture, int y, int c, int x, const Quad& quad) {
  const int count = job.crop - x < 4 ? job.crop - x : 4;
  const std::int64_t row = static_cast<std::int64_t>(picture) * 3 * job.crop * job.crop;
  const std::int64_t first = job.channels_last ? row + (static_cast<std::int64_t>(y) * job.crop + x) * 3 + c
                                               : row + (static_cast<std::int64_t>(c) * job.crop + y) * job.crop + x;
  const int step = job.channels_last ? 3 : 1;
#ifdef __CUDA_ARCH__
  if (step == 1 && job.crop % 4 == 0) {  // whole aligned words
    if (job.kind == kFloat32)
      *reinterpret_cast<uint4*>(static_cast<std::uint32_t*>(job.out) + first) = {quad.v[0], quad.v[1], quad.v[2],
                                                                                 quad.v[3]};
    else if (job.kind == kFloat16)
      *reinterpret_cast<uint2*>(static_cast<std::uint16_t*>(job.out) + first) = {quad.v[0] | quad.v[1] << 16,
                                                                                 quad.v[2] | quad.v[3] << 16};
    else
      *reinterpret_cast<std::uint32_t*>(static_cast<std::uint8_t*>(job.out) + first) =
          quad.v[0] | quad.v[1] << 8 | quad.v[2] << 16 | quad.v[3] << 24;
    return;
  }
#endif
  for (int i = 0; i < count; ++i) {
    if (job.kind == kFloat32)
      static_cast<std::uint32_t*>(job.out)[first + i * step] = quad.v[i];
    else if (job.kind == kFloat16)
      static_cast<std::uint16_t*>(job.out)[first + i * step] = static_cast<std::uint16_t>(quad.v[i]);
    else
      static_cast<std::uint8_t*>(job.out)[first + i * step] = static_cast<std::uint8_t>(quad.v[i]);
  }
}

/// Second pass: four neighbouring values of a channel at a time, down the columns, looked up and stored.
template <int kTaps>
FERRY_HD void shrink_height(const Job& job, int picture, int top, Rows rows, int thread, int threads,
                            const std::uint8_t* between, const std::uint32_t* values) {
  const std::int32_t* const start = axis_of(job, picture, 1);
  const int step = pitch(job), quads = step / 4, items = 3 * quads;
  const int bottom = top + job.tile < job.crop ? top + job.tile : job.crop;
  for (int i = thread; i < (bottom - top) * items; i += threads) {
    const int y = top + i / items, item = i % items, c = item / quads, x = item % quads * 4;
    const std::uint8_t* const column = between + ((start[y] - rows.first) * 3 + c) * step + x;
    std::int32_t sum[4];
    for (std::int32_t& s : sum) s = 1 << (kFractionBits - 1);
    for (int t = 0; t < kTaps; ++t) {
      const std::int32_t weight = start[(1 + t) * job.crop + y];
      const std::uint32_t word = *reinterpret_cast<const std::uint32_t*>(column + t * 3 * step);
      for (int k = 0; k < 4; ++k) sum[k] += weight * static_cast<std::int32_t>(word >> (8 * k) & 255);
    }
    Quad quad;
    for (int k = 0; k < 4; ++k) quad.v[k] = values[256 * c + rounded(sum[k])];
    store(job, picture, y, c, x, quad);
  }
}

/// Shared memory of a block whose tile reads at most `rows` source rows: the values, the rows, and slack behind them.
constexpr int kValueBytes = 3 * 256 * 4;
FERRY_HD int shared_bytes(const Job& job, int rows) { return kValueBytes + (rows + job.taps) * 3 * pitch(job); }

}  // namespace ferry::pictures
