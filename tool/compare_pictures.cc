#include "compare_pictures.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "ferry/error.h"
#include "ferry/evaluate.h"
#include "progress.h"

namespace ferry::tool {
namespace {

PictureAccuracy accuracy_of(const EvaluationRow& row) {
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  PictureAccuracy accuracy;
  accuracy.images = row.images;
  accuracy.top1 = row.top1 ? row.top1->value() : kUnknown;
  accuracy.top5 = row.top5 ? row.top5->value() : kUnknown;
  accuracy.agreement = row.agreement ? row.agreement->value() : kUnknown;
  accuracy.kl = row.kl.value_or(kUnknown);
  accuracy.relative_error = row.relative_error.value_or(kUnknown);
  accuracy.failure = row.failure;
  return accuracy;
}

// Those that are engines, the reference among them, and where each one's rows are.
struct Entrants {
  std::vector<EvaluationEntry> entries;
  std::vector<const Contestant*> contestants;
  std::optional<std::size_t> reference;
};

Entrants entrants_of(const Lineup& lineup, std::vector<std::string>& notes) {
  Entrants entrants;
  const auto add = [&](Contestant* contestant) {
    if (contestant->engine() == nullptr) {
      notes.push_back(contestant->row.engine + " was not run on the pictures: only ferry's engines are");
      return;
    }
    if (contestant == lineup.reference) entrants.reference = entrants.entries.size();
    const ComparisonRow& row = contestant->row;
    entrants.entries.push_back(entry_of(row.engine + " " + row.precision, *contestant->engine()));
    entrants.contestants.push_back(contestant);
  };
  for (const auto& contestant : lineup.contestants) add(contestant.get());
  if (lineup.referee) add(lineup.referee.get());
  return entrants;
}

bool same(const ComparisonRow& a, const ComparisonRow& b) {
  return a.backend == b.backend && a.precision == b.precision && a.engine == b.engine;
}

std::string percent_points(const EvaluationRow& row) {
  const Interval interval = row.top1->interval();
  return fmt::format("{} {}: {:.2f} % [{:.1f}, {:.1f}]", row.name, "top-1", 100 * row.top1->value(), 100 * interval.low,
                     100 * interval.high);
}

}  // namespace

Tensor picture_inputs(const ImageSet& images, std::int64_t count, const Preprocessing& preprocessing) {
  LoaderOptions options;
  options.preprocessing = preprocessing;
  const std::int64_t side = preprocessing.crop;
  Tensor inputs(DType::kFloat32, {count, 3, side, side});
  const auto image = static_cast<std::size_t>(3 * side * side);
  std::size_t filled = 0;
  const auto wanted = static_cast<std::size_t>(count);
  const LoadReport report = load_batches(images.items, options, [&](const ImageBatch& batch) {
    const std::size_t take = std::min(batch.items.size(), wanted - filled);
    std::memcpy(inputs.floats().data() + filled * image, batch.data, take * image * sizeof(float));
    filled += take;
    return filled < wanted;
  });
  if (filled == 0)
    throw Error(Stage::kImage, images.items.front().path,
                fmt::format("none of the {} pictures could be read", report.broken.size()));
  for (std::size_t i = filled; i < wanted; ++i)
    std::memcpy(inputs.floats().data() + i * image, inputs.floats().data() + i % filled * image, image * sizeof(float));
  return inputs;
}

void evaluate_on_pictures(const Lineup& lineup, const ImageSet& images, const Preprocessing& preprocessing,
                          std::int64_t batch, Comparison& comparison, const Context& context) {
  const Entrants entrants = entrants_of(lineup, comparison.notes);
  if (entrants.entries.empty()) return;
  EvaluateOptions options;
  options.loader.preprocessing = preprocessing;
  options.loader.batch = batch;
  options.reference = entrants.reference;
  Job job(context, fmt::format("evaluating on {} pictures", images.items.size()));
  options.progress = job.progress();
  const Evaluation evaluation = evaluate(entrants.entries, images, options);
  for (std::size_t e = 0; e < evaluation.rows.size(); ++e)
    for (ComparisonRow& row : comparison.rows)
      if (row.failure.empty() && same(row, entrants.contestants[e]->row))
        row.accuracy = accuracy_of(evaluation.rows[e]);
  comparison.notes.push_back(
      fmt::format("agree{} are over {} pictures ({}), prepared as {}; agree: the same best class as the reference",
                  images.labelled ? " and top-1" : "", evaluation.images, evaluation.layout, evaluation.preprocessing));
  if (entrants.reference && images.labelled) {
    const EvaluationRow& row = evaluation.rows[*entrants.reference];
    comparison.notes.push_back("The reference, with its 95 % interval: " + percent_points(row));
  }
  if (!evaluation.broken.empty())
    comparison.notes.push_back(fmt::format("{} pictures could not be read; the first: {}", evaluation.broken.size(),
                                           evaluation.broken.front().message));
}

}  // namespace ferry::tool
