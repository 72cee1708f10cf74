// Load: several sessions of one engine, each with requests back to back in a thread of its own, so that the copies of
// one request cross the bus while another computes. What a server sees at its busiest.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ferry/backend.h"
#include "ferry/measure.h"

namespace ferry {

/// What one request contains.
enum class LoadKind {
  kThroughput,  // from the session's staging memory (pinned on a GPU) and back: what a server does that decodes into it
  kEndToEnd,    // from an ordinary array, through the staging, to the class of each image
};
const char* name_of(LoadKind kind) noexcept;  // "throughput", "end-to-end": Measurement::mode

/// One request on one clock.
struct RequestSpan {
  double begin_ms = 0, end_ms = 0;
  double compute_ms = std::numeric_limits<double>::quiet_NaN();  // of a resident request of a session that is alone
};
/// One list for each session, in order.
using LoadTurn = std::vector<std::vector<RequestSpan>>;

/// One engine under load, at one batch size. Move-only. In a turn nothing is allocated and no lock is taken.
class Load {
 public:
  /// `input` (float32 [n, ...], or the engine's own type) outlives this. Throws Error for an engine that does not have
  /// one input, and scores or a top-k (form.h) as output.
  Load(const Engine& engine, const TensorView& input, LoadKind kind);
  Load(Load&&) noexcept;
  Load& operator=(Load&&) noexcept;
  ~Load();

  /// Opens sessions until there are `count`, or closes some. Each runs once. Throws Error: there are as many as before.
  void set_sessions(int count);
  int sessions() const noexcept;
  std::int64_t batch() const noexcept;

  /// All sessions at once for `seconds`, and at least `least` requests each. The first failure of a session is thrown
  /// when all have stopped. `watch` is called about eight times meanwhile, at least once, in the calling thread.
  LoadTurn turn(double seconds, int least, const std::function<void()>& watch = {});
  /// Whether the engine computes without transfers: EngineInfo::resident.
  bool has_resident() const noexcept;
  /// As `turn`, on the inputs that the last one left on the device; outputs stay there. Whatever else a request
  /// contains (copies, labels) is left out. Only where `has_resident`, after a request of each session.
  LoadTurn resident_turn(double seconds, int least, const std::function<void()>& watch = {});
  /// What each session's last request of a `turn` gave: scores in float32, or probabilities and classes. Outputs are
  /// filled with NaN before every `turn`.
  std::vector<std::vector<Tensor>> outputs() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Requests that end while every session is busy (from the last first end to the first last end), by the time between.
struct LoadRate {
  double seconds = 0;  // 0: no such time
  std::int64_t requests = 0;
  std::vector<double> latencies_ms;
};
LoadRate steady_rate(const LoadTurn& turn);
/// The same of a resident turn. A session that is alone leaves the device idle between its requests, which is no part
/// of what the device can do: there only the time counts in which it computed, where the engine tells.
LoadRate device_rate(const LoadTurn& turn);

/// One who takes part in `measure_load`.
struct LoadCompetitor {
  std::string name, precision;
  Load* load = nullptr;
  LoadKind kind = LoadKind::kThroughput;
  std::function<std::optional<Telemetry>()> telemetry;  // may be empty
};
/// Competitors take turns in rounds, as in `measure`. In the result, `wall` is the time of a request under load and
/// `images_per_second` what all sessions did together. Where the engine has resident requests, each turn is two blocks
/// of equal length, one with transfers and one without, of which one or the other is first in alternate rounds: both
/// thus run at the same heat, power and clocks, and Measurement::against_device compares them.
std::vector<Measurement> measure_load(std::vector<LoadCompetitor>& competitors, const MeasureOptions& options,
                                      const Progress& progress = {});
/// All blocks of one kind, and the device's state as sampled in them.
struct LoadBlocks {
  std::vector<LoadTurn> turns;
  std::vector<Telemetry> telemetry;
};
/// What `measure_load` makes of its blocks. Pure. Block i of `device` (which may be empty) is of the same round as
/// block i of `load`.
Measurement summarise_load(const LoadBlocks& load, const LoadBlocks& device, std::int64_t batch);

/// How many sessions are best, by trying: more are opened until the rate stops growing (or memory or time ends).
struct SessionChoice {
  struct Tried {
    int sessions = 0;
    double images_per_second = 0, p99_ms = 0;
  };
  int sessions = 1;
  std::string why;  // one line, for people
  std::vector<Tried> tried;
};
struct SessionSearch {
  double seconds_each = 0.4;
  int most = 8;             // sessions
  double most_seconds = 5;  // after that no more are opened; `why` says so
};
/// The fewest sessions whose rate is within 1 % of the best; `load` has them afterwards. `progress` is told what was
/// seen so far.
SessionChoice choose_sessions(Load& load, const SessionSearch& search = {}, const Progress& progress = {});

/// One way to serve: so many sessions with requests of such a batch, and what came of it.
struct OperatingPoint {
  std::int64_t batch = 1;
  int sessions = 1;
  double images_per_second = 0, median_ms = 0, p99_ms = 0;
  bool on_frontier = false;  // no other point has both a higher rate and a shorter p99
};
/// The point of a turn; a rate of 0 if nothing ended while all sessions were busy.
OperatingPoint operating_point(const LoadTurn& turn, std::int64_t batch);
void mark_frontier(std::vector<OperatingPoint>& points);
/// With `most_p99_ms`: the highest rate within it. Without: the shortest p99 within 2 % of the highest rate. Throws
/// Error(kMeasure) naming the shortest p99 if nothing is within.
std::size_t choose_point(const std::vector<OperatingPoint>& points, std::optional<double> most_p99_ms);

}  // namespace ferry
