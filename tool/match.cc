#include "match.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ferry/error.h"

namespace ferry::tool {
namespace {

struct MatchPlayer {
  Contestant* contestant;
  ComparisonRow row;
};

std::vector<Competitor> competitors_of(std::vector<MatchPlayer*>& players, std::int64_t batch) {
  std::vector<Competitor> competitors;
  for (MatchPlayer* player : players) {
    Contestant* contestant = player->contestant;
    Competitor competitor;
    competitor.name = player->row.engine;
    competitor.precision = player->row.precision;
    competitor.batch = batch;
    competitor.has_resident = contestant->has_resident();
    competitor.run = [player, contestant](bool resident) {
      RunRecord record;
      if (!try_for(player->row, [&] { record = contestant->run(resident); }))
        throw Error(Stage::kRun, player->row.engine, player->row.failure);
      return record;
    };
    competitor.telemetry = [contestant] { return contestant->telemetry(); };
    competitors.push_back(std::move(competitor));
  }
  return competitors;
}

// Measures those without a failure. One that fails in the middle spoils the run of all: it is left out of the next try.
void measure_all(std::vector<MatchPlayer>& players, std::int64_t batch, const MeasureOptions& options,
                 const Progress& progress) {
  for (;;) {
    std::vector<MatchPlayer*> fit;
    for (MatchPlayer& player : players)
      if (player.row.failure.empty()) fit.push_back(&player);
    if (fit.empty()) return;
    auto competitors = competitors_of(fit, batch);
    try {
      const auto measurements = measure(competitors, options, progress);
      for (std::size_t i = 0; i < fit.size(); ++i) fit[i]->row.measurement = measurements[i];
      return;
    } catch (const Error& error) {
      const auto failed = [](const MatchPlayer* player) { return !player->row.failure.empty(); };
      if (error.stage() == Stage::kInterrupted || std::none_of(fit.begin(), fit.end(), failed)) throw;
    }
  }
}

TopKView top_k_of(const std::vector<Tensor>& outputs) { return {outputs[0].view(), outputs[1].view(), 0}; }

// Scores or a top-k against scores or a top-k.
Agreement compare_answers(const std::vector<Tensor>& out, const std::vector<Tensor>& expected, Tolerance tolerance) {
  const bool top_k = out.size() == 2, expects_top_k = expected.size() == 2;
  if (top_k)
    return expects_top_k ? compare_top_k(top_k_of(out), top_k_of(expected), tolerance)
                         : compare_top_k(top_k_of(out), expected[0].view(), tolerance);
  if (!expects_top_k) return compare_outputs(out[0].view(), expected[0].view(), tolerance);
  throw Error(Stage::kCompare, "reference", "it gives the best classes only, and scores cannot be compared with these");
}

// Without a reference nothing can agree; what can still be said is whether the numbers are finite.
Agreement finite_only(const std::vector<Tensor>& outputs) {
  Agreement agreement = compare_answers(outputs, outputs, Tolerance{});
  for (double* value : {&agreement.relative_error, &agreement.cosine, &agreement.max_abs_error,
                        &agreement.top1_agreement, &agreement.top5_overlap})
    *value = std::numeric_limits<double>::quiet_NaN();
  return agreement;
}

// Both kinds of timed runs are judged; the worse one counts.
void judge(MatchPlayer& player, const Answer& expected) {
  try_for(player.row, [&] {
    Agreement& agreement = player.row.agreement;
    agreement = agreement_of(player.contestant->outputs(), expected, player.row.precision);
    const std::vector<Tensor> resident = player.contestant->resident_outputs();
    if (resident.empty() || !agreement.ok) return;
    const Agreement other = agreement_of(resident, expected, player.row.precision);
    if (!other.ok || other.relative_error > agreement.relative_error) agreement = other;
  });
}

bool takes_part(const std::vector<MatchPlayer>& players, const Contestant* contestant) {
  return std::any_of(players.begin(), players.end(), [&](const MatchPlayer& p) { return p.contestant == contestant; });
}

// The answer of a reference that stands aside.
std::vector<Tensor> answer_of(Contestant& reference, const TensorView& input) {
  reference.prepare(input);
  reference.run(false);
  return reference.outputs();
}

// The answer of a reference that takes part: its last timed run. Nothing if it failed.
Answer measured_answer(std::vector<MatchPlayer>& players, const Contestant* reference) {
  for (MatchPlayer& player : players)
    if (player.contestant == reference && player.row.failure.empty()) return player.contestant->outputs();
  return std::nullopt;
}

}  // namespace

Agreement agreement_of(const std::vector<Tensor>& outputs, const Answer& expected, const std::string& precision) {
  return expected ? compare_answers(outputs, *expected, tolerance_for(precision)) : finite_only(outputs);
}

Tensor test_pictures(const Shape& shape, std::uint64_t seed, const GraphForm* pixels) {
  Tensor normal = Tensor::random_normal(shape, seed);
  return pixels != nullptr ? normalise_pixels(pixels_of(normal.view(), *pixels).view(), *pixels) : std::move(normal);
}

std::string failure_text(const Error& error) {
  std::string text = error.subject().empty() ? error.cause() : error.subject() + ": " + error.cause();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::vector<ComparisonRow> play(const Contestants& contestants, Contestant* reference, const TensorView& input,
                                const MeasureOptions& options, const Progress& progress) {
  const std::int64_t batch = input.shape[0];
  std::vector<MatchPlayer> players;
  for (const auto& contestant : contestants) {
    if (contestant->largest_batch && batch > *contestant->largest_batch) continue;
    MatchPlayer player{contestant.get(), contestant->row_at(batch)};
    player.row.measurement.batch = batch;
    player.row.baseline = contestant.get() == reference;
    players.push_back(std::move(player));
  }
  for (MatchPlayer& player : players) {
    if (progress && !progress("getting " + player.row.engine + " ready", 0, 0))
      throw Error(Stage::kInterrupted, "", "stopped on request; nothing was written");
    try_for(player.row, [&] { player.contestant->prepare(input); });
  }
  Answer expected;
  if (reference != nullptr && !takes_part(players, reference)) expected = answer_of(*reference, input);
  measure_all(players, batch, options, progress);
  if (!expected) expected = measured_answer(players, reference);
  std::vector<ComparisonRow> rows;
  for (MatchPlayer& player : players) {
    judge(player, expected);
    rows.push_back(std::move(player.row));
  }
  return rows;
}

}  // namespace ferry::tool
