// What stands around the numbers: the machine they were taken on, pages for people, and the difference of two runs.
#pragma once

#include <string>
#include <vector>

#include "ferry/backend.h"
#include "ferry/compare.h"

namespace ferry {

/// The machine as JSON: CPU, cores, memory, OS, kernel, ferry's version, devices and backends. What cannot be found out
/// is left out. See docs/results.schema.json, "machine".
std::string machine_json(const std::vector<BackendInfo>& backends);

/// Now, ISO 8601 in UTC: "2026-11-24T12:00:00Z".
std::string timestamp();

/// One self-contained HTML page (no network, light and dark, 400 to 1600 pixels wide). With `before`, an earlier run:
/// what changed since stands on it too.
std::string to_html(const Comparison& comparison, const Comparison* before = nullptr);

/// One row of two runs held against each other.
struct ReportChange {
  std::string engine, precision, mode;
  std::int64_t batch = 1;
  double before_ms = 0, after_ms = 0;
  double change = 0;  // after / before - 1
  double noise = 0;   // what the rounds of both runs wander by, relative: a change within it says nothing
  bool beyond_noise = false;
  bool agreement_lost = false;  // it agreed before and does not now
};
struct ReportDifference {
  std::vector<ReportChange> changes;
  std::vector<std::string> only_before, only_after;  // rows without a partner
  std::vector<std::string> stopped;                  // rows that ran before and fail now, with the failure
  std::vector<std::string> notes;                    // other machine, other network, other ferry
};
ReportDifference difference(const Comparison& before, const Comparison& after);
/// Is a row slower beyond noise, or does it not agree or not run any more?
bool got_worse(const ReportDifference& difference);
/// At most 100 columns.
std::string to_table(const ReportDifference& difference, bool color);

}  // namespace ferry
