// Load in rounds, and what its records say.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ferry/error.h"
#include "ferry/load.h"
#include "measure/warnings.h"

namespace ferry {
namespace {

constexpr int kDeviceRuns = 12;  // in a turn
constexpr int kLeastRequests = 3;

struct Book {
  std::vector<LoadTurn> turns;
  std::vector<double> device_ms;
  std::vector<Telemetry> telemetry;
};

double milliseconds_a_batch(const LoadRate& rate) {
  return 1000 * rate.seconds / static_cast<double>(std::max<std::int64_t>(rate.requests, 1));
}

double median_of(std::vector<double> sample) { return statistics(std::move(sample)).median; }

}  // namespace

LoadRate steady_rate(const LoadTurn& turn) {
  double from = 0, to = std::numeric_limits<double>::infinity();
  for (const auto& session : turn) {
    if (session.empty()) return {};
    from = std::max(from, session.front().end_ms);
    to = std::min(to, session.back().end_ms);
  }
  LoadRate rate;
  if (turn.empty() || !(to > from)) return rate;
  rate.seconds = (to - from) / 1000;
  for (const auto& session : turn) {
    for (const RequestSpan& request : session) {
      if (request.end_ms <= from || request.end_ms > to) continue;
      ++rate.requests;
      rate.latencies_ms.push_back(request.end_ms - request.begin_ms);
    }
  }
  return rate;
}

Measurement summarise_load(const std::vector<LoadTurn>& turns, const std::vector<double>& device_ms, std::int64_t batch,
                           std::vector<Telemetry> telemetry) {
  Measurement m;
  m.batch = batch;
  m.telemetry = std::move(telemetry);
  m.sessions = turns.empty() ? 1 : static_cast<int>(turns.front().size());
  LoadRate all;
  for (const LoadTurn& turn : turns) {
    const LoadRate rate = steady_rate(turn);
    if (rate.requests == 0) continue;
    all.seconds += rate.seconds;
    all.requests += rate.requests;
    m.samples_ms.insert(m.samples_ms.end(), rate.latencies_ms.begin(), rate.latencies_ms.end());
    m.round_medians_ms.push_back(milliseconds_a_batch(rate));
  }
  if (all.requests == 0)
    throw Error(Stage::kMeasure, "", "no request ended while all sessions were busy", "Measure longer: --seconds.");
  m.wall = statistics(m.samples_ms);
  m.timed = "request under load";
  m.runs = static_cast<int>(all.requests);
  m.images_per_second = static_cast<double>(all.requests * batch) / all.seconds;
  if (!device_ms.empty() && std::isfinite(median_of(device_ms)))
    m.share_of_device = m.images_per_second * median_of(device_ms) / (1000 * static_cast<double>(batch));
  m.warnings = measurement_warnings(m);
  return m;
}

std::vector<Measurement> measure_load(std::vector<LoadCompetitor>& competitors, const MeasureOptions& options,
                                      const Progress& progress) {
  const int rounds = std::max(options.rounds, 1);
  const int least = std::max(kLeastRequests, options.min_runs / rounds / 4);
  std::vector<Book> books(competitors.size());
  // Round 0 warms up and is not kept.
  for (int round = 0; round <= rounds; ++round) {
    for (std::size_t i = 0; i < competitors.size(); ++i) {
      LoadCompetitor& c = competitors[i];
      const std::string phase = fmt::format("{} {} {} batch {}, {} sessions", round == 0 ? "warming up" : "measuring",
                                            c.name, c.precision, c.load->batch(), c.load->sessions());
      if (progress && !progress(phase, round, rounds))
        throw Error(Stage::kInterrupted, "measuring", "stopped on request; nothing was written");
      LoadTurn turn = c.load->turn(round == 0 ? options.warmup_seconds : options.min_seconds / rounds, least);
      if (round == 0) continue;
      books[i].turns.push_back(std::move(turn));
      const auto device = c.load->device_ms(kDeviceRuns);
      books[i].device_ms.insert(books[i].device_ms.end(), device.begin(), device.end());
      if (const auto now = c.telemetry ? c.telemetry() : std::nullopt) books[i].telemetry.push_back(*now);
    }
  }
  std::vector<Measurement> results;
  for (std::size_t i = 0; i < competitors.size(); ++i) {
    const LoadCompetitor& c = competitors[i];
    results.push_back(
        summarise_load(books[i].turns, books[i].device_ms, c.load->batch(), std::move(books[i].telemetry)));
    results.back().engine = c.name;
    results.back().precision = c.precision;
    results.back().mode = name_of(c.kind);
  }
  return results;
}

SessionChoice choose_sessions(Load& load, double seconds_each, int most, const Progress& progress) {
  constexpr double kAsGood = 0.99;
  SessionChoice choice;
  std::string end = fmt::format("{} is the most that is tried", most);
  double best = 0;
  int best_at = 0;
  for (int count = 1; count <= most; ++count) {
    if (progress && !progress(fmt::format("trying {} sessions", count), count, most))
      throw Error(Stage::kInterrupted, "measuring", "stopped on request; nothing was written");
    try {
      load.set_sessions(count);
    } catch (const Error& error) {
      if (count == 1) throw;
      end = fmt::format("{} sessions do not open: {}", count, error.cause());
      break;
    }
    load.turn(seconds_each / 4, 2);
    const LoadRate rate = steady_rate(load.turn(seconds_each, kLeastRequests));
    if (rate.requests == 0) continue;
    const double images = static_cast<double>(rate.requests * load.batch()) / rate.seconds;
    choice.tried.push_back({count, images, statistics(rate.latencies_ms).p99});
    if (images > best / kAsGood) best_at = count;
    best = std::max(best, images);
    if (count >= best_at + 2) {
      end = "more bring nothing";
      break;
    }
  }
  if (choice.tried.empty()) throw Error(Stage::kMeasure, "", "no request ended while all sessions were busy");
  const auto good = std::find_if(choice.tried.begin(), choice.tried.end(), [&](const SessionChoice::Tried& tried) {
    return tried.images_per_second >= kAsGood * best;
  });
  choice.sessions = good->sessions;
  for (const SessionChoice::Tried& tried : choice.tried)
    choice.why +=
        fmt::format("{}{}: {:.0f} images/s", choice.why.empty() ? "" : ", ", tried.sessions, tried.images_per_second);
  choice.why = fmt::format("{} sessions, the fewest within 1 % of the best ({}; {})", choice.sessions, choice.why, end);
  load.set_sessions(choice.sessions);
  return choice;
}

}  // namespace ferry
