// Measuring: record, then pure statistics, then (elsewhere) print.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "ferry/backend.h"

namespace ferry {

/// Order statistics of a sample, in the sample's unit. Percentiles by linear interpolation (NumPy's default).
struct Statistics {
  std::size_t count = 0;
  double min = 0, median = 0, mean = 0, p90 = 0, p99 = 0, max = 0, stddev = 0;
};
/// Throws Error(kMeasure) on an empty sample or a NaN.
Statistics statistics(std::vector<double> sample);

struct MeasureOptions {
  int min_runs = 50;
  double min_seconds = 1.0;     // per engine and batch, over all rounds
  double max_seconds = 20.0;    // a slow engine stops here even under min_runs (but after 3 runs), and says so
  double warmup_seconds = 0.5;  // and until the median of the last runs moves by less than 2 %
  int rounds = 5;               // competitors take turns this often
  // Under load, where the device alone is measured too: no block is shorter, because a card at its power limit takes
  // some tenths of a second to settle its clocks.
  double least_block_seconds = 0.5;
};

/// One measured run.
struct RunRecord {
  double wall_ms = 0;  // host array in to host array out
  RunTimes times{};    // NaN where unknown
};

/// Bits of Telemetry::throttle_reasons in words ("power limit"), without the harmless ones (idle, clocks set by the
/// user).
std::vector<std::string> throttle_names(std::uint64_t reasons);

/// Blocks of one kind under load, with or without transfers; NaN where nobody tells.
struct LoadHalf {
  double images_per_second = 0;  // median of the blocks
  double block_seconds = 0;      // median of the blocks
  double sm_clock_min_mhz = std::numeric_limits<double>::quiet_NaN();
  double sm_clock_median_mhz = std::numeric_limits<double>::quiet_NaN();
  double power_median_w = std::numeric_limits<double>::quiet_NaN();
  std::uint64_t throttle_reasons = 0;  // of any sample
};
/// The same sessions with transfers and without, in blocks that took turns.
struct AgainstDevice {
  std::vector<double> ratios;  // rate with transfers by rate without, one a round
  LoadHalf load, device;
};

/// All records of one engine at one batch size, and what they say.
struct Measurement {
  std::string engine, precision, mode = "latency";
  std::int64_t batch = 1;
  Statistics wall;                   // host in, host out
  std::optional<Statistics> device;  // resident inputs and outputs, compute only (GPU engines)
  std::optional<Statistics> enqueue, h2d, d2h;
  double images_per_second = 0;  // batch / median of what `timed` names; under load: what was done by time
  std::string timed;             // "device compute", "host in to host out" or "request under load"
  int sessions = 1;              // in flight at once; see load.h for what is under load
  double share_of_device = 0;    // under load: median of `against_device->ratios`; 0: unknown
  std::optional<AgainstDevice> against_device;
  std::vector<std::string> warnings;     // enqueue-bound, transfer-bound, unstable, throttled, few runs
  std::vector<Telemetry> telemetry;      // sampled after each turn; under load, in it
  std::vector<double> samples_ms;        // every run of what `timed` names, in order
  std::vector<double> round_medians_ms;  // of `samples_ms`, one a round: how far they lie apart is the noise. Under
                                         // load: time by batches done
  int runs = 0;

  /// The statistics that `timed` names.
  const Statistics& timed_statistics() const { return device ? *device : wall; }
};

/// Statistics, rate and warnings from records: what `measure` does after the last run. `records[round]` are runs with
/// copies, `resident[round]` runs without (empty where the engine cannot). Throws Error(kMeasure) without records.
Measurement summarise(const std::vector<std::vector<RunRecord>>& records,
                      const std::vector<std::vector<RunRecord>>& resident, std::int64_t batch,
                      std::vector<Telemetry> telemetry);

/// Someone who takes part: `run(resident)` does one request and returns its record. Time is counted by the records'
/// wall_ms (which must be positive), so measuring needs no clock of its own.
struct Competitor {
  std::string name, precision;
  std::int64_t batch = 1;
  bool has_resident = false;  // can time compute alone
  std::function<RunRecord(bool resident)> run;
  std::function<std::optional<Telemetry>()> telemetry;  // may be empty
};

/// Warms each competitor up, then lets them take turns in rounds. Pure of printing; `progress` may cancel, which throws
/// Error(kInterrupted). With `has_resident` a turn is a block of whole runs, then a block of resident runs.
std::vector<Measurement> measure(std::vector<Competitor>& competitors, const MeasureOptions& options,
                                 const Progress& progress = {});

}  // namespace ferry
