#include "match.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ferry/error.h"

namespace ferry::tool {
namespace {

struct Player {
  Contestant* contestant;
  ComparisonRow row;
};

// Runs something of one player; a failure is noted in its row. Interruption goes through.
template <typename Work>
bool try_for(Player& player, Work&& work) {
  try {
    work();
    return true;
  } catch (const Error& error) {
    if (error.stage() == Stage::kInterrupted) throw;
    player.row.failure = failure_text(error);
    return false;
  }
}

std::vector<Competitor> competitors_of(std::vector<Player*>& players, std::int64_t batch) {
  std::vector<Competitor> competitors;
  for (Player* player : players) {
    Contestant* contestant = player->contestant;
    Competitor competitor;
    competitor.name = player->row.engine;
    competitor.precision = player->row.precision;
    competitor.batch = batch;
    competitor.has_resident = contestant->has_resident();
    competitor.run = [player, contestant](bool resident) {
      RunRecord record;
      if (!try_for(*player, [&] { record = contestant->run(resident); }))
        throw Error(Stage::kRun, player->row.engine, player->row.failure);
      return record;
    };
    competitor.telemetry = [contestant] { return contestant->telemetry(); };
    competitors.push_back(std::move(competitor));
  }
  return competitors;
}

// Measures those without a failure. One that fails in the middle spoils the run of all: it is left out of the next try.
void measure_all(std::vector<Player>& players, std::int64_t batch, const MeasureOptions& options,
                 const Progress& progress) {
  for (;;) {
    std::vector<Player*> fit;
    for (Player& player : players)
      if (player.row.failure.empty()) fit.push_back(&player);
    if (fit.empty()) return;
    auto competitors = competitors_of(fit, batch);
    try {
      const auto measurements = measure(competitors, options, progress);
      for (std::size_t i = 0; i < fit.size(); ++i) fit[i]->row.measurement = measurements[i];
      return;
    } catch (const Error& error) {
      const auto failed = [](const Player* player) { return !player->row.failure.empty(); };
      if (error.stage() == Stage::kInterrupted || std::none_of(fit.begin(), fit.end(), failed)) throw;
    }
  }
}

// Without a reference nothing can agree; what can still be said is whether the numbers are finite.
Agreement finite_only(const Tensor& output) {
  Agreement agreement = compare_outputs(output.view(), output.view(), Tolerance{});
  for (double* value : {&agreement.relative_error, &agreement.cosine, &agreement.max_abs_error,
                        &agreement.top1_agreement, &agreement.top5_overlap})
    *value = std::numeric_limits<double>::quiet_NaN();
  return agreement;
}

// Both kinds of timed runs are judged; the worse one counts.
void judge(Player& player, const Tensor* expected) {
  if (!player.row.failure.empty()) return;
  try_for(player, [&] {
    Agreement& agreement = player.row.agreement;
    agreement = agreement_of(player.contestant->output(), expected, player.row.precision);
    const std::optional<Tensor> resident = player.contestant->resident_output();
    if (!resident || !agreement.ok) return;
    const Agreement other = agreement_of(*resident, expected, player.row.precision);
    if (!other.ok || other.relative_error > agreement.relative_error) agreement = other;
  });
}

bool takes_part(const std::vector<Player>& players, const Contestant* contestant) {
  return std::any_of(players.begin(), players.end(), [&](const Player& p) { return p.contestant == contestant; });
}

// The answer of a reference that stands aside.
Tensor answer_of(Contestant& reference, const TensorView& input) {
  reference.prepare(input);
  reference.run(false);
  return reference.output();
}

// The answer of a reference that takes part: its last timed run. Nothing if it failed.
std::optional<Tensor> measured_answer(std::vector<Player>& players, const Contestant* reference) {
  for (Player& player : players)
    if (player.contestant == reference && player.row.failure.empty()) return player.contestant->output();
  return std::nullopt;
}

}  // namespace

Agreement agreement_of(const Tensor& output, const Tensor* expected, const std::string& precision) {
  return expected ? compare_outputs(output.view(), expected->view(), tolerance_for(precision)) : finite_only(output);
}

std::string failure_text(const Error& error) {
  std::string text = error.subject().empty() ? error.cause() : error.subject() + ": " + error.cause();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::vector<ComparisonRow> play(const Contestants& contestants, Contestant* reference, const TensorView& input,
                                const MeasureOptions& options, const Progress& progress) {
  const std::int64_t batch = input.shape[0];
  std::vector<Player> players;
  for (const auto& contestant : contestants) {
    if (contestant->largest_batch && batch > *contestant->largest_batch) continue;
    Player player{contestant.get(), contestant->row};
    player.row.measurement.batch = batch;
    player.row.baseline = contestant.get() == reference;
    players.push_back(std::move(player));
  }
  for (Player& player : players) {
    if (progress && !progress("getting " + player.row.engine + " ready", 0, 0))
      throw Error(Stage::kInterrupted, "", "stopped on request; nothing was written");
    try_for(player, [&] { player.contestant->prepare(input); });
  }
  std::optional<Tensor> expected;
  if (reference != nullptr && !takes_part(players, reference)) expected = answer_of(*reference, input);
  measure_all(players, batch, options, progress);
  if (!expected) expected = measured_answer(players, reference);
  std::vector<ComparisonRow> rows;
  for (Player& player : players) {
    judge(player, expected ? &*expected : nullptr);
    rows.push_back(std::move(player.row));
  }
  return rows;
}

}  // namespace ferry::tool
