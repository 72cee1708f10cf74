#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "ferry/compare.h"

namespace ferry {
namespace {

bool counts(const ComparisonRow& row) { return row.failure.empty() && row.agreement.ok && row.measurement.runs > 0; }

bool same_task(const ComparisonRow& a, const ComparisonRow& b) {
  return a.measurement.batch == b.measurement.batch && a.measurement.mode == b.measurement.mode;
}

double speedup(const ComparisonRow& row, const ComparisonRow& baseline) {
  const Measurement &a = baseline.measurement, &b = row.measurement;
  if (a.mode != "latency") return a.images_per_second > 0 ? b.images_per_second / a.images_per_second : 0;
  const bool both_device = a.device && b.device;
  const double before = both_device ? a.device->median : a.wall.median;
  const double after = both_device ? b.device->median : b.wall.median;
  return before > 0 && after > 0 ? before / after : 0;
}

void note(Comparison& comparison, std::string text) {
  const auto& notes = comparison.notes;
  if (std::find(notes.begin(), notes.end(), text) == notes.end()) comparison.notes.push_back(std::move(text));
}

const ComparisonRow* smallest_baseline(const Comparison& comparison) {
  const ComparisonRow* found = nullptr;
  for (const ComparisonRow& row : comparison.rows)
    if (row.baseline && counts(row) && (!found || row.measurement.batch < found->measurement.batch)) found = &row;
  return found;
}

const ComparisonRow* fastest_against(const ComparisonRow& baseline, const Comparison& comparison) {
  const ComparisonRow* found = nullptr;
  for (const ComparisonRow& row : comparison.rows)
    if (!row.baseline && row.speedup > 0 && same_task(row, baseline) && (!found || row.speedup > found->speedup))
      found = &row;
  return found;
}

}  // namespace

void set_speedups(Comparison& comparison) {
  std::set<std::string> apart;
  for (ComparisonRow& row : comparison.rows) {
    row.speedup = 0;
    if (!counts(row)) continue;
    for (const ComparisonRow& baseline : comparison.rows) {
      if (!baseline.baseline || !counts(baseline) || !same_task(row, baseline)) continue;
      if (row.device_kind != baseline.device_kind) {
        apart.insert(
            fmt::format("{} ran on the {}, the reference {} on the {}: no speed-up is given, because it would "
                        "compare two machines, not two programs.",
                        row.engine, row.device_kind, baseline.engine, baseline.device_kind));
      } else {
        row.speedup = speedup(row, baseline);
      }
    }
  }
  for (const std::string& text : apart) note(comparison, text);
}

bool all_agree(const Comparison& comparison) {
  return std::all_of(comparison.rows.begin(), comparison.rows.end(),
                     [](const ComparisonRow& row) { return !row.failure.empty() || row.agreement.ok; });
}

std::string classic_line(const Comparison& comparison) {
  const ComparisonRow* baseline = smallest_baseline(comparison);
  const ComparisonRow* fastest = baseline ? fastest_against(*baseline, comparison) : nullptr;
  if (!fastest) return {};
  const Measurement &a = baseline->measurement, &b = fastest->measurement;
  const bool device = a.device && b.device;
  const double seconds_a = 0.1 * (device ? a.device->median : a.wall.median);
  const double seconds_b = 0.1 * (device ? b.device->median : b.wall.median);
  const bool faster = fastest->speedup >= 1;
  return fmt::format("100 inferences at batch {}: {} {} {:.3g} s, {} {} {:.3g} s, {:.2f} times {} ({})", a.batch,
                     baseline->engine, baseline->precision, seconds_a, fastest->engine, fastest->precision, seconds_b,
                     faster ? fastest->speedup : 1 / fastest->speedup, faster ? "faster" : "slower",
                     device ? "device compute" : "host in to host out");
}

}  // namespace ferry
