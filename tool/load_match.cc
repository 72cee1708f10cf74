#include "load_match.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "cli.h"

namespace ferry::tool {
namespace {

struct LoadPlayer {
  Contestant* contestant;
  ComparisonRow row;
  Tensor input{};  // outlives the load
  std::optional<Load> load{};
};

// A GPU waits for copies, a CPU for nothing: there more sessions than a few only share the cores.
int most_sessions(const LoadPlayer& player) { return player.row.device_kind == "gpu" ? 8 : 3; }

void get_ready(LoadPlayer& player, const TensorView& input, LoadKind kind, int sessions, const Progress& progress,
               std::vector<std::string>& notes) {
  if (player.contestant->engine() == nullptr)
    throw Error(Stage::kMeasure, player.row.engine, "has no sessions that ferry could load: only latency is measured");
  player.input = player.contestant->engine_input(input);
  player.load.emplace(*player.contestant->engine(), player.input.view(), kind);
  if (sessions > 0) return player.load->set_sessions(sessions);
  SessionSearch search;
  search.seconds_each = 0.3;
  search.most = most_sessions(player);
  const Progress named = [&](const std::string& phase, std::int64_t done, std::int64_t total) {
    return !progress || progress(fmt::format("{} {}: {}", player.row.engine, name_of(kind), phase), done, total);
  };
  const SessionChoice choice = choose_sessions(*player.load, search, named);
  notes.push_back(fmt::format("{} {} batch {}, {}: {}", player.row.engine, player.row.precision, input.shape[0],
                              name_of(kind), choice.why));
}

void measure_some(const std::vector<LoadPlayer*>& players, LoadKind kind, const MeasureOptions& options,
                  const Progress& progress) {
  std::vector<LoadCompetitor> competitors;
  for (LoadPlayer* player : players) {
    Contestant* contestant = player->contestant;
    competitors.push_back({player->row.engine, player->row.precision, &*player->load, kind,
                           [contestant] { return contestant->telemetry(); }});
  }
  const auto measurements = measure_load(competitors, options, progress);
  for (std::size_t i = 0; i < players.size(); ++i) players[i]->row.measurement = measurements[i];
}

// In turns; if one fails, each alone, so that the failure lands in the row that it belongs to.
void measure_all(std::vector<LoadPlayer>& players, LoadKind kind, const MeasureOptions& options,
                 const Progress& progress) {
  std::vector<LoadPlayer*> fit;
  for (LoadPlayer& player : players)
    if (player.row.failure.empty()) fit.push_back(&player);
  if (fit.empty()) return;
  try {
    return measure_some(fit, kind, options, progress);
  } catch (const Error& error) {
    if (error.stage() == Stage::kInterrupted) throw;
  }
  for (LoadPlayer* player : fit) try_for(player->row, [&] { measure_some({player}, kind, options, progress); });
}

// Every session is judged; the worst counts.
void judge(LoadPlayer& player, const Answer& expected) {
  bool first = true;
  for (const std::vector<Tensor>& outputs : player.load->outputs()) {
    const Agreement one = agreement_of(outputs, expected, player.row.precision);
    Agreement& worst = player.row.agreement;
    if (first || (worst.ok && (!one.ok || one.relative_error > worst.relative_error))) worst = one;
    first = false;
  }
}

// What one request of the reference gives. Without it outputs are only checked to be finite, which a note says.
Answer answer_of(Contestant* reference, const TensorView& input, std::vector<std::string>& notes) {
  if (reference == nullptr) return std::nullopt;
  try {
    reference->prepare(input);
    reference->run(false);
    return reference->outputs();
  } catch (const Error& error) {
    if (error.stage() == Stage::kInterrupted) throw;
    notes.push_back("The reference failed, so outputs were compared with nothing: " + failure_text(error));
    return std::nullopt;
  }
}

// "25638 images/s, 1515 MHz (lowest 1440), 690 W, power limit"; what nobody tells is left out.
std::string half_text(const LoadHalf& half) {
  std::string text = fmt::format("{:.0f} images/s", half.images_per_second);
  if (std::isfinite(half.sm_clock_median_mhz))
    text += fmt::format(", {:.0f} MHz (lowest {:.0f})", half.sm_clock_median_mhz, half.sm_clock_min_mhz);
  if (std::isfinite(half.power_median_w)) text += fmt::format(", {:.0f} W", half.power_median_w);
  for (const std::string& name : throttle_names(half.throttle_reasons)) text += ", " + name;
  return text;
}

// What was compared, in one line (once), and what came of it.
void note_share(const LoadPlayer& player, std::vector<std::string>& notes) {
  const Measurement& m = player.row.measurement;
  if (!player.row.failure.empty() || !m.against_device) return;
  const AgainstDevice& against = *m.against_device;
  const char* whole = m.mode == name_of(LoadKind::kThroughput) ? "with transfers" : "end to end";
  const std::string compared =
      fmt::format("share of device, {} turns of {:.1f} s each: {} {} against {} only", against.ratios.size(),
                  against.load.block_seconds, m.sessions == 1 ? "1 session" : fmt::format("{} sessions", m.sessions),
                  whole, m.sessions == 1 ? "its compute time" : "them computing");
  if (std::find(notes.begin(), notes.end(), compared) == notes.end()) notes.push_back(compared);
  const auto [low, high] = std::minmax_element(against.ratios.begin(), against.ratios.end());
  notes.push_back(fmt::format(
      "{} {} batch {}, {}: {:.1f} % of what the device alone computes (turns: {:.1f} to {:.1f}); {}: {}; computing "
      "only: {}",
      player.row.engine, player.row.precision, m.batch, m.mode, 100 * m.share_of_device, 100 * *low, 100 * *high, whole,
      half_text(against.load), half_text(against.device)));
}

}  // namespace

void LoadFlags::add_to(CLI::App* verb) {
  verb->add_option("--mode", modes, "latency, throughput, end-to-end, or several: latency,throughput")
      ->type_name("LIST")
      ->capture_default_str();
  verb->add_option("--sessions", sessions, "Requests in flight, except for latency: a number, or auto")
      ->type_name("N")
      ->capture_default_str();
}

std::vector<std::string> LoadFlags::mode_list() const {
  std::vector<std::string> list = parse_list("--mode", modes);
  for (const std::string& mode : list)
    if (mode != "latency" && mode != name_of(LoadKind::kThroughput) && mode != name_of(LoadKind::kEndToEnd))
      throw Error(Stage::kUsage, "--mode", fmt::format("there is no mode '{}'", mode),
                  "Modes: latency, throughput, end-to-end.");
  return list;
}

int LoadFlags::session_count() const {
  if (sessions == "auto") return 0;
  int count = 0;
  const char* end = sessions.data() + sessions.size();
  const auto [stop, failure] = std::from_chars(sessions.data(), end, count);
  if (failure != std::errc() || stop != end || count < 1 || count > 256)
    throw Error(Stage::kUsage, "--sessions", fmt::format("'{}' is not a number from 1 to 256", sessions),
                "Give a number, or auto.");
  return count;
}

std::vector<ComparisonRow> play_load(const Contestants& contestants, Contestant* reference, const TensorView& input,
                                     LoadKind kind, int sessions, const MeasureOptions& options,
                                     const Progress& progress, std::vector<std::string>& notes) {
  std::vector<LoadPlayer> players;
  for (const auto& contestant : contestants) {
    LoadPlayer& player = players.emplace_back();
    player.contestant = contestant.get();
    player.row = contestant->row_at(input.shape[0]);
    player.row.measurement.batch = input.shape[0];
    player.row.measurement.mode = name_of(kind);
    player.row.baseline = contestant.get() == reference;
    try_for(player.row, [&] { get_ready(player, input, kind, sessions, progress, notes); });
  }
  measure_all(players, kind, options, progress);
  const Answer expected = answer_of(reference, input, notes);
  std::vector<ComparisonRow> rows;
  for (LoadPlayer& player : players) {
    try_for(player.row, [&] { judge(player, expected); });
    note_share(player, notes);
    rows.push_back(std::move(player.row));
  }
  return rows;
}

std::vector<ComparisonRow> play_mode(const std::string& mode, const LoadFlags& flags, const Contestants& contestants,
                                     Contestant* reference, const TensorView& input, const MeasureOptions& options,
                                     const Progress& progress, std::vector<std::string>& notes) {
  if (mode == "latency") return play(contestants, reference, input, options, progress);
  const LoadKind kind = mode == name_of(LoadKind::kThroughput) ? LoadKind::kThroughput : LoadKind::kEndToEnd;
  return play_load(contestants, reference, input, kind, flags.session_count(), options, progress, notes);
}

}  // namespace ferry::tool
