// From records to a Measurement: pure.
#include <cmath>

#include "ferry/error.h"
#include "measure/warnings.h"

namespace ferry {
namespace {

using Rounds = std::vector<std::vector<RunRecord>>;

double wall_of(const RunRecord& record) { return record.wall_ms; }
double compute_of(const RunRecord& record) { return record.times.compute_ms; }
double enqueue_of(const RunRecord& record) { return record.times.enqueue_ms; }
double h2d_of(const RunRecord& record) { return record.times.h2d_ms; }
double d2h_of(const RunRecord& record) { return record.times.d2h_ms; }

std::vector<double> sample(const Rounds& rounds, double (*field)(const RunRecord&)) {
  std::vector<double> values;
  for (const auto& round : rounds)
    for (const RunRecord& record : round) values.push_back(field(record));
  return values;
}

// Nothing where there is no record, or where the engine could not tell (NaN) in any of them.
std::optional<Statistics> statistics_if_known(const Rounds& rounds, double (*field)(const RunRecord&)) {
  std::vector<double> values = sample(rounds, field);
  if (values.empty()) return std::nullopt;
  for (const double value : values)
    if (!std::isfinite(value)) return std::nullopt;
  return statistics(std::move(values));
}

std::vector<double> medians(const Rounds& rounds, double (*field)(const RunRecord&)) {
  std::vector<double> result;
  for (const auto& round : rounds)
    if (!round.empty()) result.push_back(statistics(sample({round}, field)).median);
  return result;
}

}  // namespace

Measurement summarise(const Rounds& records, const Rounds& resident, std::int64_t batch,
                      std::vector<Telemetry> telemetry) {
  Measurement m;
  m.batch = batch;
  m.telemetry = std::move(telemetry);
  m.wall = statistics(sample(records, wall_of));
  m.device = statistics_if_known(resident, compute_of);
  m.enqueue = statistics_if_known(m.device ? resident : records, enqueue_of);
  if (m.device) {  // on a CPU there is nothing to copy
    m.h2d = statistics_if_known(records, h2d_of);
    m.d2h = statistics_if_known(records, d2h_of);
  }
  const Rounds& timed = m.device ? resident : records;
  const auto field = m.device ? compute_of : wall_of;
  m.timed = m.device ? "device compute" : "host in to host out";
  m.samples_ms = sample(timed, field);
  m.round_medians_ms = medians(timed, field);
  m.runs = static_cast<int>(m.samples_ms.size());
  const double median = m.timed_statistics().median;
  m.images_per_second = median > 0 ? 1000.0 * static_cast<double>(batch) / median : 0;
  m.warnings = measurement_warnings(m);
  return m;
}

}  // namespace ferry
