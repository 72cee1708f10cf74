// How the pixels of pictures go together.
#include <fmt/format.h>

#include <cstdlib>

#include "ferry/calibrate.h"
#include "ferry/error.h"
#include "quantize/parallel.h"

namespace ferry {
namespace {

constexpr std::int64_t kReach = PictureMoments::kReach, kSide = PictureMoments::kSide;

/// A picture with a border of zeros to the left, to the right and below.
struct Padded {
  Padded(const float* picture, std::int64_t channels, std::int64_t rows, std::int64_t columns)
      : height(rows), width(columns), stride(columns + kSide - 1) {
    values.resize(static_cast<std::size_t>(channels * (height + kReach) * stride));
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t y = 0; y < height; ++y)
        std::copy_n(picture + (c * height + y) * width, width, &values[offset(c, y) + kReach]);
  }
  std::size_t offset(std::int64_t c, std::int64_t y) const {
    return static_cast<std::size_t>((c * (height + kReach) + y) * stride);
  }
  const float* row(std::int64_t c, std::int64_t y) const { return &values[offset(c, y)]; }

  std::int64_t height, width, stride;
  std::vector<float> values;
};

// Products of channel c with channel d, dy rows below: `sums` gets one for each dx. The inner loop runs over dx, not
// over pixels: so a compiler may use vectors without changing the order of any sum.
void add_rows(const Padded& picture, std::int64_t c, std::int64_t d, std::int64_t dy, double* sums) {
  for (std::int64_t y = 0; y < picture.height; ++y) {
    const float* here = picture.row(c, y) + kReach;
    const float* there = picture.row(d, y + dy);
    float of_row[kSide] = {};
    for (std::int64_t x = 0; x < picture.width; ++x)
      for (std::int64_t k = 0; k < kSide; ++k) of_row[k] += here[x] * there[x + k];
    for (std::int64_t k = 0; k < kSide; ++k) sums[k] += static_cast<double>(of_row[k]);
  }
}

}  // namespace

void PictureMoments::add(const TensorView& pictures, int threads) {
  const Shape& shape = pictures.shape;
  if (places == 0) {
    channels = shape[1];
    sums.assign(static_cast<std::size_t>(channels * channels * kSide * kSide), 0);
  }
  if (shape[1] != channels)
    throw Error(Stage::kQuantize, "the pictures", fmt::format("have {} channels, then {}", channels, shape[1]));
  const std::int64_t height = shape[2], width = shape[3];
  const auto* floats = reinterpret_cast<const float*>(pictures.data);
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    const Padded picture(floats + n * channels * height * width, channels, height, width);
    // Each sum belongs to one item, so its order does not depend on the threads. Rows above mirror those below.
    const auto items = static_cast<std::size_t>(channels * channels * (kReach + 1));
    for_each_in_parallel(items, threads, [&](std::size_t item) {
      const auto i = static_cast<std::int64_t>(item);
      const std::int64_t dy = i % (kReach + 1), pair = i / (kReach + 1);
      add_rows(picture, pair / channels, pair % channels, dy,
               &sums[static_cast<std::size_t>((pair * kSide + dy + kReach) * kSide)]);
    });
  }
  places += static_cast<std::uint64_t>(shape[0] * height * width);
}

double PictureMoments::at(std::int64_t c, std::int64_t d, std::int64_t dy, std::int64_t dx) const {
  if (std::abs(dy) > kReach || std::abs(dx) > kReach || empty()) return 0;
  if (dy < 0) return at(d, c, -dy, -dx);
  const auto i = static_cast<std::size_t>(((c * channels + d) * kSide + dy + kReach) * kSide + dx + kReach);
  return sums[i] / static_cast<double>(places);
}

}  // namespace ferry
