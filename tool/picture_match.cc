#include "picture_match.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "ferry/classifier.h"

namespace ferry::tool {
namespace {

constexpr int kBest = 5;
constexpr std::int64_t kBatchesOfARun = 8;  // filling and emptying the pipeline is part of each

struct PicturePlayer {
  Contestant* contestant;
  ComparisonRow row;
  std::optional<Classifier> classifier{};
};

// `count` pictures that can be read, from the start again where there are fewer.
std::vector<std::string> encoded_pictures(const ImageSet& images, std::size_t count,
                                          const Preprocessing& preprocessing) {
  std::vector<std::string> encoded;
  ImageU8 memory;
  for (const ImageItem& item : images.items) {
    if (encoded.size() == count) break;
    try {
      Picture picture;
      picture.name = item.path;
      std::string bytes = encoded_bytes(picture);
      decode_part(bytes, item.path, {}, preprocessing, memory);
      encoded.push_back(std::move(bytes));
    } catch (const Error&) {  // whoever evaluates them names them
    }
  }
  if (encoded.empty())
    throw Error(Stage::kImage, images.items.front().path,
                fmt::format("none of the {} pictures could be read", images.items.size()));
  const std::size_t read = encoded.size();
  while (encoded.size() < count) encoded.push_back(encoded[encoded.size() - read]);
  return encoded;
}

// As a graph with top-k gives them, so that the same judge can be asked.
std::vector<Tensor> best_classes(const Classifier& classifier, const std::vector<std::string>& encoded) {
  const auto count = static_cast<std::int64_t>(encoded.size());
  std::vector<float> probabilities;
  std::vector<std::int32_t> classes;
  const std::unique_ptr<PictureSource> source = pictures_in_memory(encoded);
  classifier.classify_all(*source, [&](Classified&& result) {
    if (!result.error.empty()) throw Error(Stage::kRun, result.name, result.error);
    for (const Label& label : result.labels) probabilities.push_back(label.score), classes.push_back(label.index);
    return true;
  });
  const std::int64_t kept = static_cast<std::int64_t>(classes.size()) / count;
  std::vector<Tensor> outputs;
  outputs.emplace_back(DType::kFloat32, Shape{count, kept});
  outputs.emplace_back(DType::kInt32, Shape{count, kept});
  std::copy(probabilities.begin(), probabilities.end(), outputs[0].floats().begin());
  std::copy(classes.begin(), classes.end(), reinterpret_cast<std::int32_t*>(outputs[1].data()));
  return outputs;
}

Classifier classifier_of(const Contestant& contestant, const Preprocessing& preprocessing, std::int64_t batch) {
  if (contestant.engine() == nullptr)
    throw Error(Stage::kMeasure, contestant.row.engine, "is no engine of ferry's: pictures cannot go through it");
  ClassifierOptions options;
  options.preprocessing = preprocessing;
  options.top_k = kBest;
  options.batch = batch;
  return Classifier(*contestant.engine(), options);
}

// A run is kBatchesOfARun batches and counts as one.
Competitor competitor_of(PicturePlayer& player, const std::vector<std::string>& encoded, std::int64_t batch) {
  Competitor competitor = end_to_end(*player.classifier, encoded, player.row.engine, player.row.precision);
  competitor.batch = batch;
  competitor.run = [&player, whole = std::move(competitor.run)](bool resident) {
    RunRecord record;
    if (!try_for(player.row, [&] { record = whole(resident); }))
      throw Error(Stage::kRun, player.row.engine, player.row.failure);
    record.wall_ms /= kBatchesOfARun;
    return record;
  };
  return competitor;
}

// One that fails in the middle spoils the run of all: it is left out of the next try.
void measure_all(std::vector<PicturePlayer>& players, const std::vector<std::string>& encoded, std::int64_t batch,
                 const MeasureOptions& options, const Progress& progress) {
  for (;;) {
    std::vector<PicturePlayer*> fit;
    std::vector<Competitor> competitors;
    for (PicturePlayer& player : players) {
      if (!player.row.failure.empty()) continue;
      fit.push_back(&player);
      competitors.push_back(competitor_of(player, encoded, batch));
    }
    if (fit.empty()) return;
    try {
      const std::vector<Measurement> measurements = measure(competitors, options, progress);
      for (std::size_t i = 0; i < fit.size(); ++i) {
        fit[i]->row.measurement = measurements[i];
        fit[i]->row.measurement.mode = "end-to-end";
      }
      return;
    } catch (const Error& error) {
      const auto failed = [](const PicturePlayer* player) { return !player->row.failure.empty(); };
      if (error.stage() == Stage::kInterrupted || std::none_of(fit.begin(), fit.end(), failed)) throw;
    }
  }
}

// Without a reference outputs are only checked to be finite, which a note says.
Answer answer_of(const Contestant* reference, const Preprocessing& preprocessing, std::int64_t batch,
                 const std::vector<std::string>& encoded, std::vector<std::string>& notes) {
  if (reference == nullptr) return std::nullopt;
  try {
    return best_classes(classifier_of(*reference, preprocessing, batch), encoded);
  } catch (const Error& error) {
    if (error.stage() == Stage::kInterrupted) throw;
    notes.push_back("The reference failed, so classes were compared with nothing: " + failure_text(error));
    return std::nullopt;
  }
}

}  // namespace

std::vector<ComparisonRow> play_pictures(const Contestants& contestants, Contestant* reference, const ImageSet& images,
                                         const Preprocessing& preprocessing, std::int64_t batch,
                                         const MeasureOptions& options, const Progress& progress,
                                         std::vector<std::string>& notes) {
  const std::vector<std::string> encoded =
      encoded_pictures(images, static_cast<std::size_t>(kBatchesOfARun * batch), preprocessing);
  std::vector<PicturePlayer> players;
  for (const auto& contestant : contestants) {
    if (contestant->largest_batch && batch > *contestant->largest_batch) continue;
    PicturePlayer& player = players.emplace_back(PicturePlayer{contestant.get(), contestant->row});
    player.row.measurement.batch = batch;
    player.row.measurement.mode = "end-to-end";
    player.row.baseline = contestant.get() == reference;
    try_for(player.row, [&] { player.classifier.emplace(classifier_of(*contestant, preprocessing, batch)); });
  }
  MeasureOptions each = options;  // the clock of `measure` are the records, and these say an eighth
  for (double* seconds : {&each.min_seconds, &each.max_seconds, &each.warmup_seconds}) *seconds /= kBatchesOfARun;
  measure_all(players, encoded, batch, each, progress);
  const Answer expected = answer_of(reference, preprocessing, batch, encoded, notes);
  std::vector<ComparisonRow> rows;
  for (PicturePlayer& player : players) {
    try_for(player.row, [&] {
      player.row.agreement = agreement_of(best_classes(*player.classifier, encoded), expected, player.row.precision);
    });
    rows.push_back(std::move(player.row));
  }
  return rows;
}

}  // namespace ferry::tool
