// Load in rounds, and what its records say.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "ferry/error.h"
#include "ferry/load.h"
#include "measure/warnings.h"

namespace ferry {
namespace {

constexpr int kLeastRequests = 3;

double milliseconds_a_batch(const LoadRate& rate) {
  return 1000 * rate.seconds / static_cast<double>(std::max<std::int64_t>(rate.requests, 1));
}

double images_per_second(const LoadRate& rate, std::int64_t batch) {
  return rate.requests > 0 ? static_cast<double>(rate.requests * batch) / rate.seconds : 0;
}

double median_of(std::vector<double> sample) {
  return sample.empty() ? std::numeric_limits<double>::quiet_NaN() : statistics(std::move(sample)).median;
}

// Rates of one kind of block, as they are collected.
struct Rates {
  std::vector<double> images, seconds;

  void add(const LoadRate& rate, std::int64_t batch) {
    images.push_back(images_per_second(rate, batch));
    seconds.push_back(rate.seconds);
  }
};

LoadHalf half_of(const Rates& rates, const std::vector<Telemetry>& telemetry) {
  LoadHalf half;
  half.images_per_second = median_of(rates.images);
  half.block_seconds = median_of(rates.seconds);
  std::vector<double> clocks, watts;
  for (const Telemetry& now : telemetry) {
    if (std::isfinite(now.sm_clock_mhz)) clocks.push_back(now.sm_clock_mhz);
    if (std::isfinite(now.power_w)) watts.push_back(now.power_w);
    half.throttle_reasons |= now.throttle_reasons;
  }
  if (!clocks.empty()) half.sm_clock_min_mhz = *std::min_element(clocks.begin(), clocks.end());
  half.sm_clock_median_mhz = median_of(clocks);
  half.power_median_w = median_of(watts);
  return half;
}

// Only rounds in which both blocks have a rate: a ratio is between neighbours.
std::optional<AgainstDevice> against_device(const LoadBlocks& load, const LoadBlocks& device, std::int64_t batch) {
  AgainstDevice result;
  Rates with, without;
  for (std::size_t i = 0; i < std::min(load.turns.size(), device.turns.size()); ++i) {
    const LoadRate loaded = steady_rate(load.turns[i]), alone = device_rate(device.turns[i]);
    if (loaded.requests == 0 || alone.requests == 0) continue;
    with.add(loaded, batch);
    without.add(alone, batch);
    result.ratios.push_back(with.images.back() / without.images.back());
  }
  if (result.ratios.empty()) return std::nullopt;
  result.load = half_of(with, load.telemetry);
  result.device = half_of(without, device.telemetry);
  return result;
}

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

LoadRate device_rate(const LoadTurn& turn) {
  LoadRate rate = steady_rate(turn);
  if (turn.size() != 1 || rate.requests == 0) return rate;
  double computing_ms = 0;
  for (const RequestSpan& request : turn.front()) computing_ms += request.compute_ms;
  if (!(computing_ms > 0) || !std::isfinite(computing_ms)) return rate;
  rate.requests = static_cast<std::int64_t>(turn.front().size());
  rate.seconds = computing_ms / 1000;
  return rate;
}

Measurement summarise_load(const LoadBlocks& load, const LoadBlocks& device, std::int64_t batch) {
  Measurement m;
  m.batch = batch;
  m.telemetry = load.telemetry;
  m.sessions = load.turns.empty() ? 1 : static_cast<int>(load.turns.front().size());
  LoadRate all;
  for (const LoadTurn& turn : load.turns) {
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
  m.images_per_second = images_per_second(all, batch);
  m.against_device = against_device(load, device, batch);
  if (m.against_device) m.share_of_device = median_of(m.against_device->ratios);
  m.warnings = measurement_warnings(m);
  return m;
}

namespace {

struct Book {
  LoadBlocks load, device;
};

// One block of each kind, as long as each other. First with transfers in odd rounds and first without in even ones, so
// that whatever a block leaves behind (heat, a clock that is still low) meets both kinds.
void take_turn(const LoadCompetitor& c, const MeasureOptions& options, int round, int least, Book& book) {
  const bool both = c.load->has_resident();
  double seconds = options.min_seconds / std::max(options.rounds, 1);
  if (both) seconds = std::max(seconds, options.least_block_seconds);
  if (round == 0) seconds = options.warmup_seconds;
  const auto block = [&](bool resident) {
    LoadBlocks& blocks = resident ? book.device : book.load;
    const auto watch = [&] {
      if (const auto now = c.telemetry ? c.telemetry() : std::nullopt) blocks.telemetry.push_back(*now);
    };
    blocks.turns.push_back(resident ? c.load->resident_turn(seconds, least, watch)
                                    : c.load->turn(seconds, least, watch));
  };
  const bool resident_first = both && round > 0 && round % 2 == 0;
  block(resident_first);
  if (both) block(!resident_first);
}

}  // namespace

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
      Book unkept;
      take_turn(c, options, round, least, round == 0 ? unkept : books[i]);
    }
  }
  std::vector<Measurement> results;
  for (std::size_t i = 0; i < competitors.size(); ++i) {
    const LoadCompetitor& c = competitors[i];
    results.push_back(summarise_load(books[i].load, books[i].device, c.load->batch()));
    results.back().engine = c.name;
    results.back().precision = c.precision;
    results.back().mode = name_of(c.kind);
  }
  return results;
}

namespace {

constexpr double kAsGood = 0.99;

/// Tries one number of sessions after another; what was seen is in `choice`.
class Search {
 public:
  Search(Load& load, const SessionSearch& how, const Progress& progress)
      : load_(load), how_(how), progress_(progress) {}

  SessionChoice choose() {
    int count = 1;
    while (end_.empty()) attempt(count++);
    if (choice_.tried.empty()) throw Error(Stage::kMeasure, "", "no request ended while all sessions were busy");
    const auto good = std::find_if(choice_.tried.begin(), choice_.tried.end(), [&](const SessionChoice::Tried& tried) {
      return tried.images_per_second >= kAsGood * best_;
    });
    choice_.sessions = good->sessions;
    choice_.why =
        fmt::format("{} sessions, the fewest within 1 % of the best ({}; {})", choice_.sessions, seen(), end_);
    load_.set_sessions(choice_.sessions);
    return std::move(choice_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  std::string seen() const {
    std::string text;
    for (const SessionChoice::Tried& tried : choice_.tried)
      text += fmt::format("{}{}: {:.0f} images/s", text.empty() ? "" : ", ", tried.sessions, tried.images_per_second);
    return text;
  }

  void attempt(int count) {
    const std::string so_far = choice_.tried.empty() ? "" : fmt::format(" (so far {})", seen());
    if (progress_ && !progress_(fmt::format("trying {} sessions{}", count, so_far), count - 1, how_.most))
      throw Error(Stage::kInterrupted, "measuring", "stopped on request; nothing was written");
    try {
      load_.set_sessions(count);
    } catch (const Error& error) {
      if (count == 1) throw;
      end_ = fmt::format("{} sessions do not open: {}", count, error.cause());
      return;
    }
    load_.turn(how_.seconds_each / 4, 2);
    const LoadRate rate = steady_rate(load_.turn(how_.seconds_each, kLeastRequests));
    if (rate.requests > 0) {
      const double images = static_cast<double>(rate.requests * load_.batch()) / rate.seconds;
      choice_.tried.push_back({count, images, statistics(rate.latencies_ms).p99});
      if (images > best_ / kAsGood) best_at_ = count;
      best_ = std::max(best_, images);
    }
    const double spent = std::chrono::duration<double>(Clock::now() - begin_).count();
    if (count >= how_.most)
      end_ = fmt::format("{} is the most that is tried", how_.most);
    else if (best_at_ > 0 && count >= best_at_ + 2)
      end_ = "more bring nothing";
    else if (spent >= how_.most_seconds)
      end_ = fmt::format("stopped after {:.1f} s; --sessions N takes any other number", spent);
  }

  Load& load_;
  const SessionSearch& how_;
  const Progress& progress_;
  const Clock::time_point begin_ = Clock::now();
  SessionChoice choice_;
  double best_ = 0;
  int best_at_ = 0;
  std::string end_;  // why no more are tried
};

}  // namespace

SessionChoice choose_sessions(Load& load, const SessionSearch& search, const Progress& progress) {
  return Search(load, search, progress).choose();
}

}  // namespace ferry
