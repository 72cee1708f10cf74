// The latency-throughput frontier.
#include <fmt/format.h>

#include <algorithm>

#include "ferry/error.h"
#include "ferry/load.h"

namespace ferry {
namespace {

// As good in both and better in one.
bool beats(const OperatingPoint& a, const OperatingPoint& b) {
  const bool as_good = a.images_per_second >= b.images_per_second && a.p99_ms <= b.p99_ms;
  return as_good && (a.images_per_second > b.images_per_second || a.p99_ms < b.p99_ms);
}

}  // namespace

OperatingPoint operating_point(const LoadTurn& turn, std::int64_t batch) {
  OperatingPoint point;
  point.batch = batch;
  point.sessions = static_cast<int>(turn.size());
  const LoadRate rate = steady_rate(turn);
  if (rate.requests == 0) return point;
  const Statistics latency = statistics(rate.latencies_ms);
  point.images_per_second = static_cast<double>(rate.requests * batch) / rate.seconds;
  point.median_ms = latency.median;
  point.p99_ms = latency.p99;
  return point;
}

void mark_frontier(std::vector<OperatingPoint>& points) {
  for (OperatingPoint& point : points)
    point.on_frontier =
        point.images_per_second > 0 && std::none_of(points.begin(), points.end(), [&](const OperatingPoint& other) {
          return other.images_per_second > 0 && beats(other, point);
        });
}

std::size_t choose_point(const std::vector<OperatingPoint>& points, std::optional<double> most_p99_ms) {
  constexpr double kAsGoodRate = 0.98;
  double best = 0, shortest = 0;
  for (const OperatingPoint& point : points) {
    if (!(point.images_per_second > 0)) continue;
    best = std::max(best, point.images_per_second);
    shortest = shortest > 0 ? std::min(shortest, point.p99_ms) : point.p99_ms;
  }
  std::optional<std::size_t> chosen;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const OperatingPoint& point = points[i];
    if (!(point.images_per_second > 0)) continue;
    if (most_p99_ms ? !(point.p99_ms <= *most_p99_ms) : !(point.images_per_second >= kAsGoodRate * best)) continue;
    const bool better = !chosen || (most_p99_ms ? point.images_per_second > points[*chosen].images_per_second
                                                : point.p99_ms < points[*chosen].p99_ms);
    if (better) chosen = i;
  }
  if (chosen) return *chosen;
  throw Error(Stage::kMeasure, "",
              fmt::format("no point was measured within the latency asked for; the shortest p99 is "
                          "{:.3f} ms",
                          shortest),
              "Allow more, or try smaller batches.");
}

}  // namespace ferry
