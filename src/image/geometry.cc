#include "image/geometry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ferry/error.h"
#include "image/resample.h"

namespace ferry {
namespace {

int scaled_side(int resize, int side, int shorter) {
  const double scaled =
      static_cast<double>(std::int64_t{resize} * side) / shorter;  // Python's int(size * long / short)
  if (!(scaled < (1 << 30)))
    throw Error(Stage::kImage, "", fmt::format("a picture of {} by {} pixels is too narrow to resize", shorter, side));
  return static_cast<int>(scaled);
}

CropAxis crop_axis(int resized, int crop) {
  CropAxis axis;
  axis.resized = resized;
  // round() of Python and nearbyint() both take halves to even.
  axis.first = crop > resized ? -((crop - resized) / 2) : static_cast<int>(std::nearbyint((resized - crop) / 2.0));
  axis.begin = std::max(0, -axis.first);
  axis.end = std::min(crop, resized - axis.first);
  return axis;
}

}  // namespace

CropWindow crop_window(int width, int height, const Preprocessing& preset) {
  const int shorter = std::min(width, height);
  const int new_width = width <= height ? preset.resize : scaled_side(preset.resize, width, shorter);
  const int new_height = width <= height ? scaled_side(preset.resize, height, shorter) : preset.resize;
  return {crop_axis(new_width, preset.crop), crop_axis(new_height, preset.crop)};
}

NeededPart needed_part(int width, int height, const CropWindow& window) {
  const auto span = [](int in, const CropAxis& axis) {
    return source_span(in, axis.resized, axis.first + axis.begin, axis.end - axis.begin);
  };
  const SourceSpan x = span(width, window.x), y = span(height, window.y);
  return {x.first, y.first, x.end, y.end};
}

}  // namespace ferry
