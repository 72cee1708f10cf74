#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ferry/calibrate.h"
#include "ferry/error.h"

namespace ferry {
namespace {

constexpr std::size_t kBins = 4096;

struct PlaneSums {
  float min = std::numeric_limits<float>::infinity(), max = -std::numeric_limits<float>::infinity();
  double sum = 0, power = 0;
  std::uint64_t zeros = 0;
};

// Eight independent lanes, so that compilers vectorise without being allowed to reorder a sum.
PlaneSums sums_of(const float* values, std::size_t count) {
  constexpr std::size_t kLanes = 8;
  float low[kLanes], high[kLanes], sum[kLanes] = {}, power[kLanes] = {};
  std::uint32_t zeros[kLanes] = {};
  std::fill(low, low + kLanes, std::numeric_limits<float>::infinity());
  std::fill(high, high + kLanes, -std::numeric_limits<float>::infinity());
  PlaneSums total;
  const auto take = [&](std::size_t lane, float x) {
    low[lane] = x < low[lane] ? x : low[lane];
    high[lane] = x > high[lane] ? x : high[lane];
    sum[lane] += x;
    power[lane] += x * x;
    zeros[lane] += x == 0.0f;
  };
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane) take(lane, values[i + lane]);
  for (; i < count; ++i) take(i % kLanes, values[i]);
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    total.min = std::min(total.min, low[lane]);
    total.max = std::max(total.max, high[lane]);
    total.sum += sum[lane];
    total.power += power[lane];
    total.zeros += zeros[lane];
  }
  return total;
}

// Doubles the range until it covers `largest`: pairs of bins become one.
void cover(TensorStatistics& s, float largest) {
  if (s.bins.empty()) {
    s.bins.resize(kBins);
    s.bin_width = std::ldexp(1.0, std::max(std::ilogb(largest) + 1, -80)) / kBins;  // largest < 2^(ilogb + 1)
  }
  while (largest >= s.bin_width * kBins) {
    for (std::size_t i = 0; i < kBins; ++i) {
      const std::uint64_t merged = 2 * i + 1 < kBins ? s.bins[2 * i] + s.bins[2 * i + 1] : 0;
      s.bins[i] = merged;
    }
    s.bin_width *= 2;
  }
}

void count(TensorStatistics& s, const float* values, std::size_t size) {
  const float inverse = static_cast<float>(1.0 / s.bin_width);  // a power of two: the product below is exact
  for (std::size_t i = 0; i < size; ++i) {
    const auto bin = static_cast<std::size_t>(std::fabs(values[i]) * inverse);
    ++s.bins[std::min(bin, kBins - 1)];
  }
}

}  // namespace

void TensorStatistics::add(const TensorView& values, const std::string& name) {
  if (values.dtype != DType::kFloat32 || values.shape.size() < 2)
    throw Error(Stage::kQuantize, name,
                fmt::format("is {} {}, not float32 with channels", name_of(values.dtype), to_string(values.shape)));
  const auto images = static_cast<std::size_t>(values.shape[0]), channels = static_cast<std::size_t>(values.shape[1]);
  if (count > 0 && channels != channel_max.size())
    throw Error(Stage::kQuantize, name, fmt::format("has {} channels, and had {}", channels, channel_max.size()));
  const auto elements = static_cast<std::size_t>(element_count(values.shape));
  if (elements == 0) return;
  const std::size_t plane = elements / (images * channels);
  const auto* const data = reinterpret_cast<const float*>(values.data);

  std::vector<PlaneSums> planes(images * channels);
  for (std::size_t p = 0; p < planes.size(); ++p) {
    planes[p] = sums_of(data + p * plane, plane);
    if (!std::isfinite(planes[p].power))
      throw Error(Stage::kQuantize, name,
                  fmt::format("holds NaN, infinity or values beyond 1e19 in channel {}", p % channels),
                  "The float model overflows on this picture: check the model and the preprocessing.");
  }
  channel_max.resize(channels);
  channel_mean.resize(channels);
  channel_power.resize(channels);
  const double before = static_cast<double>(count) / static_cast<double>(channels);
  const double after = before + static_cast<double>(images * plane);
  for (std::size_t c = 0; c < channels; ++c) {
    double sum = channel_mean[c] * before, power = channel_power[c] * before;
    for (std::size_t n = 0; n < images; ++n) {
      const PlaneSums& p = planes[n * channels + c];
      sum += p.sum;
      power += p.power;
      zeros += p.zeros;
      min = std::min(count == 0 && n == 0 && c == 0 ? p.min : min, p.min);
      max = std::max(count == 0 && n == 0 && c == 0 ? p.max : max, p.max);
      channel_max[c] = std::max({channel_max[c], -p.min, p.max});
    }
    channel_mean[c] = sum / after;
    channel_power[c] = power / after;
  }
  count += elements;
  if (max_abs() == 0) return;
  cover(*this, max_abs());
  ferry::count(*this, data, elements);
  std::uint64_t new_zeros = 0;
  for (const PlaneSums& p : planes) new_zeros += p.zeros;
  bins[0] -= new_zeros;
}

}  // namespace ferry
