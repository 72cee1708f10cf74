// Those who are evaluated, and the memory in which batches of pictures wait for them: an engine's own staging, or
// arrays of floats for a function. Part of evaluate.cc, for which alone it is.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "classify/form.h"
#include "classify/lane.h"
#include "ferry/error.h"
#include "ferry/image.h"

namespace ferry {

class Entrants {
 public:
  /// A function of floats, or an engine that the pipeline can feed.
  struct Way {
    std::function<Tensor(const TensorView&)> run;
    const Engine* engine = nullptr;
  };

  /// For batches of at most `wanted` pictures; fewer if an engine takes no more.
  Entrants(const std::vector<Way>& ways, const Preprocessing& preprocessing, std::int64_t wanted)
      : batch_(wanted), crop_(preprocessing.crop), floats_(Preprocessor(preprocessing).floats()) {
    if (wanted < 1) throw Error(Stage::kUsage, "batch", fmt::format("{} is not a batch size", wanted));
    for (const Way& way : ways) {
      Entrant& entrant = entrants_.emplace_back();
      entrant.run = way.run;
      if (!way.engine) continue;
      const EngineInfo& info = way.engine->info();
      entrant.tools = std::make_unique<LaneTools>(LaneTools{*way.engine, form_of(info), preprocessing});
      check_crop(entrant.tools->form, preprocessing);
      entrant.at_once = info.device.kind == "gpu";
      if (entrant.at_once) buffers_ = 3;  // one is filled, one runs, one waits for its turn
      batch_ = std::min(batch_, most_of(info, wanted));
    }
    for (Entrant& entrant : entrants_)
      if (entrant.tools) open_lanes(entrant);
    if (std::any_of(entrants_.begin(), entrants_.end(), [](const Entrant& e) { return !e.tools; }))
      planes_.assign(buffers_, std::vector<float>(static_cast<std::size_t>(batch_) * floats_));
  }

  std::int64_t batch() const noexcept { return batch_; }
  /// Batches that may be filled, run and read at the same time.
  std::size_t buffers() const noexcept { return buffers_; }
  /// Why an engine's memory could not be had; empty: it could. Such an entry is not to be started or finished.
  const std::string& failure(std::size_t entry) const noexcept { return entrants_[entry].failure; }

  /// Gives everyone a decoded picture. Several threads may fill different rows, each with its own preprocessor.
  void put(std::size_t buffer, std::size_t row, const ImageView& image, Preprocessor& preprocessor) {
    for (const Entrant& entrant : entrants_)
      if (!entrant.lanes.empty()) entrant.lanes[buffer]->put(row, image, preprocessor);
    if (!planes_.empty()) preprocessor.run(image, planes_[buffer].data() + row * floats_);
  }
  void move(std::size_t buffer, std::size_t from, std::size_t to) {
    for (const Entrant& entrant : entrants_)
      if (!entrant.lanes.empty()) entrant.lanes[buffer]->move(from, to);
    if (planes_.empty()) return;
    float* const first = planes_[buffer].data();
    std::memcpy(first + to * floats_, first + from * floats_, floats_ * sizeof(float));
  }

  /// Starts the first `rows` of a batch where somebody else computes (a GPU); on a CPU engines would only take the
  /// cores from each other, and run in `finish`. Then that gives float32 [rows, classes]. What they throw is the
  /// entry's failure: do not finish what could not be started.
  void start(std::size_t entry, std::size_t buffer, std::size_t rows) {
    if (entrants_[entry].at_once) entrants_[entry].lanes[buffer]->submit(rows);
  }
  Tensor finish(std::size_t entry, std::size_t buffer, std::size_t rows) {
    const Entrant& entrant = entrants_[entry];
    const auto count = static_cast<std::int64_t>(rows);
    if (!entrant.tools)
      return entrant.run(
          {DType::kFloat32, {count, 3, crop_, crop_}, reinterpret_cast<const std::byte*>(planes_[buffer].data())});
    Lane& lane = *entrant.lanes[buffer];
    if (!entrant.at_once) lane.submit(rows);
    lane.wait();
    const auto classes = static_cast<std::size_t>(entrant.tools->form.classes);
    Tensor scores(DType::kFloat32, {count, entrant.tools->form.classes});
    std::vector<float> widened;
    for (std::size_t row = 0; row < rows; ++row)
      std::memcpy(scores.floats().data() + row * classes, lane.scores(row, widened).data(), classes * sizeof(float));
    return scores;
  }

 private:
  struct Entrant {
    std::function<Tensor(const TensorView&)> run;
    std::unique_ptr<LaneTools> tools{};          // of an engine
    std::vector<std::unique_ptr<Lane>> lanes{};  // one a buffer; none after a failure
    bool at_once = false;
    std::string failure{};
  };

  // The most pictures that an engine takes at once.
  static std::int64_t most_of(const EngineInfo& info, std::int64_t wanted) {
    if (info.inputs[0].shape[0] > 0) return std::min(wanted, info.inputs[0].shape[0]);
    std::int64_t most = info.profiles.empty() ? info.max_batch.value_or(wanted) : 0;
    for (const BatchProfile& profile : info.profiles) most = std::max(most, profile.max);
    return std::min(wanted, most);
  }

  void open_lanes(Entrant& entrant) const {
    try {
      while (entrant.lanes.size() < buffers_) entrant.lanes.push_back(Lane::make(*entrant.tools, batch_));
    } catch (const Error& error) {  // no memory on a GPU, say: its own failure
      if (error.stage() == Stage::kUsage) throw;
      entrant.lanes.clear();
      entrant.failure = error.what();
    }
  }

  std::vector<Entrant> entrants_;
  std::int64_t batch_, crop_;
  std::size_t buffers_ = 2, floats_;        // of one picture
  std::vector<std::vector<float>> planes_;  // one a buffer, where somebody wants floats
};

}  // namespace ferry
