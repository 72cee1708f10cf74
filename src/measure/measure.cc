// Warm each competitor up, then let them take turns, so that drift of clocks and temperature hits all alike.
#include "ferry/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ferry/error.h"

namespace ferry {
namespace {

constexpr std::size_t kWindow = 5;     // runs compared with the runs before them
constexpr double kSteady = 0.02;       // medians of two windows this close: warm
constexpr double kLongestWarmup = 6;   // times warmup_seconds, for an engine that never gets steady
constexpr std::size_t kLeastRuns = 3;  // however slow
constexpr double kReportEvery_ms = 50;
constexpr std::size_t kMostRuns = 200'000;  // of one kind in one turn: bounds memory

class Referee {
 public:
  Referee(std::vector<Competitor>& competitors, const MeasureOptions& options, const Progress& progress)
      : competitors_(competitors), options_(options), progress_(progress), books_(competitors.size()) {}

  std::vector<Measurement> measure() {
    for (Competitor& competitor : competitors_) warm_up(competitor);
    for (int round = 0; round < options_.rounds; ++round)
      for (std::size_t i = 0; i < competitors_.size(); ++i) take_turn(i, round);
    std::vector<Measurement> results;
    for (std::size_t i = 0; i < competitors_.size(); ++i) results.push_back(result(i));
    return results;
  }

 private:
  struct Book {
    std::vector<std::vector<RunRecord>> whole, resident;
    std::vector<Telemetry> telemetry;
  };

  void report(const std::string& phase, std::int64_t done, std::int64_t total) {
    if (progress_ && !progress_(phase, done, total))
      throw Error(Stage::kInterrupted, "measuring", "stopped on request; nothing was written");
  }

  static std::string label(const Competitor& c) { return fmt::format("{} {} batch {}", c.name, c.precision, c.batch); }

  static RunRecord run(Competitor& competitor, bool resident) {
    const RunRecord record = competitor.run(resident);
    if (!(record.wall_ms > 0) || !std::isfinite(record.wall_ms))
      throw Error(Stage::kMeasure, label(competitor), "a run came back without a wall time");
    return record;
  }

  // Runs until `warmup_seconds` are over and two windows of runs have the same median within kSteady.
  void warm_up(Competitor& competitor) {
    const double least_ms = 1000 * options_.warmup_seconds;
    std::vector<double> walls;
    double spent_ms = 0;
    for (;;) {
      report("warming up " + label(competitor), static_cast<std::int64_t>(spent_ms),
             static_cast<std::int64_t>(std::max(least_ms, spent_ms)));
      walls.push_back(run(competitor, false).wall_ms);
      if (competitor.has_resident) spent_ms += run(competitor, true).wall_ms;
      spent_ms += walls.back();
      if (spent_ms >= least_ms && steady(walls)) return;
      if (spent_ms >= kLongestWarmup * least_ms) return;  // summarise() warns of what does not settle
    }
  }

  static bool steady(const std::vector<double>& walls) {
    if (walls.size() < 2 * kWindow) return false;
    const auto end = walls.end();
    const double last = statistics({end - kWindow, end}).median;
    const double before = statistics({end - 2 * kWindow, end - kWindow}).median;
    return std::abs(last - before) <= kSteady * before;
  }

  void take_turn(std::size_t index, int round) {
    Competitor& competitor = competitors_[index];
    Book& book = books_[index];
    const auto turns = static_cast<std::int64_t>(competitors_.size());
    const std::int64_t done = round * turns + static_cast<std::int64_t>(index);
    report("measuring " + label(competitor), done, turns * options_.rounds);
    book.whole.push_back(block(competitor, false, done));
    if (competitor.has_resident) book.resident.push_back(block(competitor, true, done));
    if (!competitor.telemetry) return;
    if (const std::optional<Telemetry> now = competitor.telemetry()) book.telemetry.push_back(*now);
  }

  // One turn's share of runs and seconds. Whatever the limits, each turn has one run and all turns have three.
  std::vector<RunRecord> block(Competitor& competitor, bool resident, std::int64_t done) {
    const double share = 1.0 / options_.rounds;
    const double least_ms = 1000 * options_.min_seconds * share, most_ms = 1000 * options_.max_seconds * share;
    const auto runs = static_cast<std::size_t>(std::ceil(std::max(options_.min_runs, 1) * share));
    const auto least_runs = static_cast<std::size_t>(std::ceil(kLeastRuns * share));
    std::vector<RunRecord> records;
    double spent_ms = 0, reported_ms = 0;
    while (records.size() < kMostRuns) {
      const bool enough = records.size() >= runs && spent_ms >= least_ms;
      const bool too_slow = records.size() >= least_runs && spent_ms >= most_ms;
      if (enough || too_slow) break;
      records.push_back(run(competitor, resident));
      spent_ms += records.back().wall_ms;
      if (spent_ms - reported_ms < kReportEvery_ms) continue;
      reported_ms = spent_ms;  // seldom, so that reporting does not stand between fast runs
      report("measuring " + label(competitor), done, static_cast<std::int64_t>(competitors_.size()) * options_.rounds);
    }
    return records;
  }

  Measurement result(std::size_t index) {
    const Competitor& competitor = competitors_[index];
    Book& book = books_[index];
    Measurement m = summarise(book.whole, book.resident, competitor.batch, std::move(book.telemetry));
    m.engine = competitor.name;
    m.precision = competitor.precision;
    return m;
  }

  std::vector<Competitor>& competitors_;
  const MeasureOptions& options_;
  const Progress& progress_;
  std::vector<Book> books_;
};

void check(const std::vector<Competitor>& competitors, const MeasureOptions& options) {
  if (options.rounds < 1) throw Error(Stage::kUsage, "rounds", "there must be at least one round");
  if (!(options.min_seconds >= 0) || !(options.max_seconds > 0) || !(options.warmup_seconds >= 0))
    throw Error(Stage::kUsage, "seconds", "times to measure must be positive numbers");
  if (options.max_seconds < options.min_seconds)
    throw Error(Stage::kUsage, "seconds", "the longest time is shorter than the least time");
  for (const Competitor& competitor : competitors)
    if (!competitor.run) throw Error(Stage::kMeasure, competitor.name, "there is nothing to run");
}

}  // namespace

std::vector<Measurement> measure(std::vector<Competitor>& competitors, const MeasureOptions& options,
                                 const Progress& progress) {
  check(competitors, options);
  return Referee(competitors, options, progress).measure();
}

}  // namespace ferry
