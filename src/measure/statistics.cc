#include <algorithm>
#include <cmath>

#include "ferry/error.h"
#include "ferry/measure.h"

namespace ferry {
namespace {

// Linear interpolation between closest ranks (NumPy's default).
double percentile(const std::vector<double>& sorted, double share) {
  const double position = share * static_cast<double>(sorted.size() - 1);
  const std::size_t below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double weight = position - static_cast<double>(below);
  return sorted[below] + weight * (sorted[above] - sorted[below]);
}

}  // namespace

Statistics statistics(std::vector<double> sample) {
  if (sample.empty()) throw Error(Stage::kMeasure, "", "there is no run to make statistics of");
  double sum = 0;
  for (const double value : sample) {
    if (!std::isfinite(value)) throw Error(Stage::kMeasure, "", "a measured time is not a finite number");
    sum += value;
  }
  std::sort(sample.begin(), sample.end());
  Statistics result;
  result.count = sample.size();
  result.min = sample.front();
  result.max = sample.back();
  result.mean = sum / static_cast<double>(sample.size());
  result.median = percentile(sample, 0.5);
  result.p90 = percentile(sample, 0.9);
  result.p99 = percentile(sample, 0.99);
  double squares = 0;
  for (const double value : sample) squares += (value - result.mean) * (value - result.mean);
  result.stddev = std::sqrt(squares / static_cast<double>(sample.size()));
  return result;
}

}  // namespace ferry
