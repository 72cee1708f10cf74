// One request in flight: a session, its staging memory for one batch, and how pictures get in and scores out.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "classify/form.h"
#include "ferry/backend.h"
#include "ferry/image.h"

namespace ferry {

/// What all lanes of a classifier share and nobody changes.
struct LaneTools {
  Engine engine;
  EngineForm form;
  Preprocessing preprocessing;
};

class Lane {
 public:
  /// For batches of up to `capacity` pictures: one that prepares pictures itself, or one that leaves it to the engine
  /// where that takes pixels. `tools` must outlive it.
  static std::unique_ptr<Lane> make(const LaneTools& tools, std::int64_t capacity);
  virtual ~Lane() = default;
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  /// Puts a decoded picture into a row. Several threads may fill different rows at once, each with its own
  /// preprocessor.
  virtual void put(std::size_t row, const ImageView& image, Preprocessor& preprocessor) = 0;
  /// Copies a row to another.
  virtual void move(std::size_t from, std::size_t to) = 0;

  /// Runs the first `count` rows: starts it, and waits for its end. Throws Error(kRun).
  void submit(std::size_t count);
  virtual void wait() { session_.wait(); }

  /// After `wait`: the k best classes of a row with their probabilities. Throws Error(kRun) if the row holds a NaN.
  std::vector<ClassScore> best(std::size_t row, int k) const;
  /// After `wait`: the scores of a row as the engine gave them; `widened` is where those of an FP16 engine go.
  std::span<const float> scores(std::size_t row, std::vector<float>& widened) const;

 protected:
  Lane(const LaneTools& tools, std::int64_t capacity);
  virtual void start(std::int64_t batch, std::size_t count) = 0;

  const LaneTools& tools_;
  std::int64_t capacity_;
  Session session_;
  Session::Staging staging_;
};

}  // namespace ferry
