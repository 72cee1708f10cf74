#include <algorithm>
#include <cstring>

#include "backend_abi.h"
#include "classify/lanes.h"
#include "image/geometry.h"
#include "image/resample.h"

namespace ferry {
namespace {

// A photograph of 640x480 fits; a larger one takes longer to decode than to resize anyway.
constexpr std::size_t kUsualShare = 640 << 10;
constexpr std::size_t kAlignment = 64;
constexpr int kMostShrink = FERRY_IMAGES_MOST_SHRINK;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
// Rows are whole words on the device.
std::size_t row_bytes(int columns) { return (std::size_t{3} * static_cast<std::size_t>(columns) + 3) / 4 * 4; }

}  // namespace

PixelLane::PixelLane(const LaneTools& tools, std::int64_t capacity) : Lane(tools, capacity) {
  const auto rows = static_cast<std::size_t>(capacity_);
  const int crop = tools.preprocessing.crop;
  share_ = std::max(kUsualShare, aligned(row_bytes(crop) * static_cast<std::size_t>(crop)));
  memory_ = session_.image_staging(share_ * rows);
  images_.resize(rows);
}

void PixelLane::copy(StagedImage& placed, const std::uint8_t* first, std::size_t stride) {
  const std::size_t row = row_bytes(placed.part_width);
  const std::size_t pixels = std::size_t{3} * static_cast<std::size_t>(placed.part_width);
  const auto rows = static_cast<std::size_t>(placed.part_height);
  placed.offset = used_.fetch_add(aligned(row * rows));
  placed.stride = static_cast<int>(row);
  std::byte* const to = memory_ + placed.offset;
  for (std::size_t y = 0; y < rows; ++y) std::memcpy(to + y * row, first + y * stride, pixels);
}

void PixelLane::put(std::size_t row, const ImageView& image, Preprocessor& preprocessor) {
  const Preprocessing& preset = tools_.preprocessing;
  const CropWindow w = crop_window(image.width, image.height, preset);
  const NeededPart need = needed_part(image.width, image.height, w);
  const int columns = need.right - need.left, rows = need.bottom - need.top;
  const std::size_t bytes = row_bytes(columns) * static_cast<std::size_t>(rows);
  const bool here = bytes > share_ - kAlignment || image.width > kMostShrink * w.x.resized ||
                    image.height > kMostShrink * w.y.resized ||
                    height_first(image.width, image.height, w.x.resized, w.y.resized);
  StagedImage& placed = images_[row];
  if (here) {
    const int side = preset.crop;
    placed = {0, 0, side, side, 0, 0, side, side, side, side, 0, 0};
    copy(placed, preprocessor.pixels(image).data(), std::size_t{3} * static_cast<std::size_t>(side));
    return;
  }
  placed = {0,       0,    image.width, image.height, need.left, need.top,
            columns, rows, w.x.resized, w.y.resized,  w.x.first, w.y.first};
  copy(placed, image.at(need.left, need.top), image.stride);
}

void PixelLane::start(std::int64_t batch, std::size_t count) {
  std::vector<StagedImage> images(images_.begin(), images_.begin() + static_cast<std::ptrdiff_t>(count));
  images.resize(static_cast<std::size_t>(batch), images.front());  // rows to spare run a picture twice
  session_.submit_images(images, used_, tools_.preprocessing.mean, tools_.preprocessing.std, staging_.outputs);
}

void PixelLane::wait() {
  used_ = 0;  // whatever happens: the next batch is a new one
  Lane::wait();
}

}  // namespace ferry
