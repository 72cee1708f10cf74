// The two kinds of lanes.
#pragma once

#include <atomic>
#include <vector>

#include "classify/lane.h"

namespace ferry {

/// Pictures are prepared on the CPU, straight into the engine's input staging.
class PreparedLane final : public Lane {
 public:
  PreparedLane(const LaneTools& tools, std::int64_t capacity);
  void put(std::size_t row, const ImageView& image, Preprocessor& preprocessor) override;
  void move(std::size_t from, std::size_t to) override;

 private:
  void start(std::int64_t batch, std::size_t count) override;
  void put_values(std::byte* to, std::span<const std::uint8_t> pixels) const;
  std::vector<std::uint32_t> values_;  // bit patterns: what each pixel value of each channel becomes
};

/// Pictures cross as pixels and are prepared on the device. Only the part that the crop needs is copied; what is larger
/// than its share of the staging memory, shrinks too much or is very tall is resized here.
class PixelLane final : public Lane {
 public:
  PixelLane(const LaneTools& tools, std::int64_t capacity);
  void put(std::size_t row, const ImageView& image, Preprocessor& preprocessor) override;
  void move(std::size_t from, std::size_t to) override { images_[to] = images_[from]; }
  void wait() override;

 private:
  void start(std::int64_t batch, std::size_t count) override;
  void copy(StagedImage& placed, const std::uint8_t* first, std::size_t stride);

  std::size_t share_;  // bytes of one picture at most
  std::byte* memory_ = nullptr;
  std::atomic<std::uint64_t> used_ = 0;
  std::vector<StagedImage> images_;
};

}  // namespace ferry
