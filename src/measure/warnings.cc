#include "measure/warnings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace ferry {
namespace {

constexpr int kFewRuns = 20;            // below this a p99 is only the slowest run
constexpr double kWideSpread = 0.10;    // p90 above the median
constexpr double kRoundsApart = 0.05;   // medians of the rounds
constexpr double kClockWanders = 0.05;  // lowest against highest clock

constexpr std::array<std::pair<std::uint64_t, const char*>, 5> kThrottling{{
    {0x04, "power limit"},
    {0x08, "hardware slowdown"},
    {0x20, "temperature (software)"},
    {0x40, "temperature (hardware)"},
    {0x80, "power brake"},
}};

void warn_of_bounds(const Measurement& m, std::vector<std::string>& warnings) {
  if (!m.device) return;
  if (m.enqueue && m.enqueue->median >= m.device->median)
    warnings.push_back(
        fmt::format("bound by enqueue: submitting takes {:.3g} ms, computing {:.3g} ms, so the GPU waits "
                    "for the host",
                    m.enqueue->median, m.device->median));
  const double copies = (m.h2d ? m.h2d->median : 0) + (m.d2h ? m.d2h->median : 0);
  if (copies >= m.device->median)
    warnings.push_back(fmt::format("host to host is bound by transfer: copies take {:.3g} ms, computing {:.3g} ms",
                                   copies, m.device->median));
}

void warn_of_spread(const Measurement& m, std::vector<std::string>& warnings) {
  const Statistics& timed = m.timed_statistics();
  if (timed.count < kFewRuns)
    warnings.push_back(fmt::format("few runs: {} within the time limit, so p99 says little", timed.count));
  const bool alone = m.timed != "request under load";  // under load requests wait for each other: only rounds tell
  if (alone && timed.p90 > timed.median * (1 + kWideSpread))
    warnings.push_back(fmt::format("unstable: one run in ten takes {:.0f} % longer than the median, or more",
                                   100 * (timed.p90 / timed.median - 1)));
  if (m.round_medians_ms.size() < 2) return;
  const auto [low, high] = std::minmax_element(m.round_medians_ms.begin(), m.round_medians_ms.end());
  if (*high > *low * (1 + kRoundsApart))
    warnings.push_back(fmt::format("unstable: medians of the rounds lie {:.0f} % apart ({:.3g} to {:.3g} ms)",
                                   100 * (*high / *low - 1), *low, *high));
}

void warn_of_clocks(const Measurement& m, std::vector<std::string>& warnings) {
  std::uint64_t reasons = 0;
  double low = INFINITY, high = 0;
  for (const Telemetry& now : m.telemetry) {
    reasons |= now.throttle_reasons;
    if (!std::isfinite(now.sm_clock_mhz)) continue;
    low = std::min(low, now.sm_clock_mhz);
    high = std::max(high, now.sm_clock_mhz);
  }
  for (const std::string& name : throttle_names(reasons)) warnings.push_back("throttled: " + name);
  if (high > 0 && low < high * (1 - kClockWanders))
    warnings.push_back(fmt::format("the clock wandered between {:.0f} and {:.0f} MHz", low, high));
}

}  // namespace

std::vector<std::string> throttle_names(std::uint64_t reasons) {
  std::vector<std::string> names;
  for (const auto& [bit, name] : kThrottling)
    if (reasons & bit) names.push_back(name);
  return names;
}

std::vector<std::string> measurement_warnings(const Measurement& measurement) {
  std::vector<std::string> warnings;
  warn_of_bounds(measurement, warnings);
  warn_of_spread(measurement, warnings);
  warn_of_clocks(measurement, warnings);
  return warnings;
}

}  // namespace ferry
