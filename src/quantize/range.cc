// From a histogram to the value that becomes the last step.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ferry/calibrate.h"
#include "ferry/error.h"

namespace ferry {
namespace {

constexpr int kLevels = 128;  // of TensorRT's entropy: |q| is 0 to 127

std::size_t used_bins(const TensorStatistics& s) {
  std::size_t used = s.bins.size();
  while (used > 0 && s.bins[used - 1] == 0) --used;
  return used;
}

double percentile_range(const TensorStatistics& s, double percentile) {
  const double wanted = percentile / 100.0 * static_cast<double>(s.count);
  double covered = static_cast<double>(s.zeros);
  for (std::size_t i = 0; i < s.bins.size(); ++i) {
    covered += static_cast<double>(s.bins[i]);
    if (covered >= wanted) return std::min<double>(s.bin_width * static_cast<double>(i + 1), s.max_abs());
  }
  return s.max_abs();
}

// KL(P || Q) for the first `used` bins: P has the clipped tail on its last bin, Q spreads each of 128 levels evenly
// over those of its bins that are not empty.
double divergence(const std::vector<std::uint64_t>& bins, std::size_t used, double tail, double total) {
  double kl = 0;
  for (int level = 0; level < kLevels; ++level) {
    const std::size_t first = used * static_cast<std::size_t>(level) / kLevels;
    const std::size_t end = used * static_cast<std::size_t>(level + 1) / kLevels;
    double mass = 0;
    std::size_t filled = 0;
    for (std::size_t i = first; i < end; ++i) {
      mass += static_cast<double>(bins[i]);
      filled += bins[i] != 0;
    }
    for (std::size_t i = first; i < end; ++i) {
      const double p = (static_cast<double>(bins[i]) + (i + 1 == used ? tail : 0)) / total;
      if (p == 0) continue;
      if (bins[i] == 0) return std::numeric_limits<double>::infinity();  // the tail falls where Q has nothing
      kl += p * std::log(p / (mass / static_cast<double>(filled) / (total - tail)));
    }
  }
  return kl;
}

double entropy_range(const TensorStatistics& s) {
  const std::size_t used = used_bins(s);
  const double total = static_cast<double>(s.count - s.zeros);
  double best = std::numeric_limits<double>::infinity(), inside = 0;
  std::size_t chosen = used, done = 0;
  for (std::size_t end = kLevels; end <= used; end += 8) {
    for (; done < end; ++done) inside += static_cast<double>(s.bins[done]);
    const double kl = divergence(s.bins, end, total - inside, total);
    if (kl < best) best = kl, chosen = end;
  }
  return std::min<double>(s.bin_width * static_cast<double>(chosen), s.max_abs());
}

double squared_error(const TensorStatistics& s, std::size_t used, double range, int steps) {
  const double step = range / steps;
  double error = 0;
  for (std::size_t i = 0; i < used; ++i) {
    const double x = (static_cast<double>(i) + 0.5) * s.bin_width;
    const double q = std::min<double>(std::nearbyint(x / step), steps) * step;
    error += static_cast<double>(s.bins[i]) * (x - q) * (x - q);
  }
  return error;
}

double mse_range(const TensorStatistics& s, int steps) {
  const std::size_t used = used_bins(s);
  double best = std::numeric_limits<double>::infinity(), chosen = s.max_abs();
  for (int i = 40; i >= 0; --i) {  // from the maximum down to 2^-4 of it
    const double range = s.max_abs() * std::exp2(-(40 - i) / 10.0);
    const double error = squared_error(s, used, range, steps);
    if (error < best) best = error, chosen = range;
  }
  return chosen;
}

}  // namespace

const char* name_of(RangeMethod method) noexcept {
  switch (method) {
    case RangeMethod::kMax:
      return "max";
    case RangeMethod::kPercentile:
      return "percentile";
    case RangeMethod::kEntropy:
      return "entropy";
    case RangeMethod::kMse:
      return "mse";
  }
  return "?";
}

RangeMethod range_method_named(const std::string& name) {
  for (const RangeMethod method :
       {RangeMethod::kMax, RangeMethod::kPercentile, RangeMethod::kEntropy, RangeMethod::kMse})
    if (name == name_of(method)) return method;
  throw Error(Stage::kUsage, name, "no such calibration method", "Methods: max, percentile, entropy, mse.");
}

double range_of(const TensorStatistics& statistics, const RangeOptions& options, int steps) {
  if (statistics.count == 0 || statistics.max_abs() == 0) return 0;
  switch (options.method) {
    case RangeMethod::kMax:
      return statistics.max_abs();
    case RangeMethod::kPercentile:
      return percentile_range(statistics, options.percentile);
    case RangeMethod::kEntropy:
      return entropy_range(statistics);
    case RangeMethod::kMse:
      return mse_range(statistics, steps);
  }
  return statistics.max_abs();
}

}  // namespace ferry
