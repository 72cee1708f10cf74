// What Classifier holds.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "classify/lane.h"
#include "ferry/classifier.h"

namespace ferry {

/// What one single picture needs. Kept for the next one.
struct SingleLane {
  explicit SingleLane(const LaneTools& tools) : lane(Lane::make(tools, 1)), preprocessor(tools.preprocessing) {}
  std::unique_ptr<Lane> lane;
  Preprocessor preprocessor;
  ImageU8 image;
};

struct Classifier::Impl {
  Impl(Engine engine, const ClassifierOptions& options);

  std::vector<Label> labels_of(const Lane& lane, std::size_t row) const;
  /// Waits if too many are in use. Give it back with `give_back`.
  std::unique_ptr<SingleLane> take();
  void give_back(std::unique_ptr<SingleLane> lane);

  /// The lanes of a stream; those of the last stream with this batch where nobody else has them.
  std::vector<std::unique_ptr<Lane>> take_lanes(std::int64_t batch, std::size_t count);
  void give_back(std::int64_t batch, std::vector<std::unique_ptr<Lane>> lanes);

  ClassifierOptions options;
  LaneTools tools;
  std::vector<std::string> names;

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<SingleLane>> idle_;
  int in_use_ = 0;
  std::int64_t kept_batch_ = 0;
  std::vector<std::unique_ptr<Lane>> kept_lanes_;
};

}  // namespace ferry
