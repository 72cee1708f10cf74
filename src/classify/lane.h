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
  /// For batches of up to `capacity` pictures. `tools` must outlive it.
  Lane(const LaneTools& tools, std::int64_t capacity);

  /// Puts a decoded picture into a row. Several threads may fill different rows at once, each with its own
  /// preprocessor.
  void put(std::size_t row, const ImageU8& image, Preprocessor& preprocessor);
  /// Copies a row to another.
  void move(std::size_t from, std::size_t to);

  /// Runs the first `count` rows: starts it, and waits for its end. Throws Error(kRun).
  void submit(std::size_t count);
  void wait();

  /// After `wait`: the k best classes of a row with their probabilities. Throws Error(kRun) if the row holds a NaN.
  std::vector<ClassScore> best(std::size_t row, int k) const;

 private:
  void put_values(std::byte* to, std::span<const std::uint8_t> pixels) const;
  std::span<const float> scores(std::size_t row, std::vector<float>& widened) const;

  const LaneTools& tools_;
  std::int64_t capacity_;
  Session session_;
  Session::Staging staging_;
  std::vector<std::uint16_t> half_;  // for FP16 inputs: what each pixel value of each channel becomes
};

}  // namespace ferry
