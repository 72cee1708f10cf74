#include "cuda/boxes.h"

#include <algorithm>

namespace ferry::latency {

cuda::TensorMap boxes_of(const ConvDesc& c) {
  const auto pixel = static_cast<std::uint64_t>(c.C) * 2, images = static_cast<std::uint64_t>(c.M / (c.OH * c.OW)),
             width = static_cast<std::uint64_t>(c.W), boxes = static_cast<std::uint64_t>(c.C) / 64;
  const auto rows = static_cast<std::uint32_t>(c.rows), span = static_cast<std::uint32_t>(c.span);
  cuda::TensorMap map;
  if (strided(c)) {  // every second pixel of every second row
    map.sizes = {64, static_cast<std::uint64_t>(c.OW), images * static_cast<std::uint64_t>(c.OH), boxes};
    map.strides = {2 * pixel, 2 * width * pixel, 128};
    map.box = {64, static_cast<std::uint32_t>(c.width), rows, span};
  } else {
    map.sizes = {64, images * static_cast<std::uint64_t>(c.H) * width, boxes};
    map.strides = {pixel, 128};
    map.box = {64, rows, span};
  }
  return map;
}

const char* boxes_refused(const ConvDesc& c) {
  if (c.kind == kStem) return nullptr;  // its activations are brought by ordinary loads
  const cuda::TensorMap map = boxes_of(c);
  const auto all = [](const auto& values, auto&& holds) { return std::all_of(values.begin(), values.end(), holds); };
  if (!all(map.sizes, [](std::uint64_t v) { return v >= 1 && v <= std::uint64_t{1} << 32; })) return "an empty tensor";
  if (!all(map.strides, [](std::uint64_t v) { return v % 16 == 0 && v < std::uint64_t{1} << 40; }))
    return "distances that are no multiples of 16 bytes";
  if (!all(map.box, [](std::uint32_t v) { return v >= 1 && v <= 256; })) return "a box of more than 256 rows";
  const std::uint64_t box =
      std::uint64_t{128} * static_cast<std::uint64_t>(c.rows) * static_cast<std::uint64_t>(c.width);
  // Loads lie one behind the other, each at a multiple of the swizzle's 1024 bytes.
  const bool whole = c.boxes % c.span == 0 && c.box_bytes % 1024 == 0 && c.a_off % 1024 == 0 && c.stack % 1024 == 0;
  if (!whole || (c.span > 1 && box * c.chunks != static_cast<std::uint64_t>(c.box_bytes)) ||
      (c.chunks > 1 && box % 1024 != 0) || box * c.chunks > static_cast<std::uint64_t>(c.box_bytes))
    return "boxes that do not lie where the products look for them";
  if (box * c.chunks * c.boxes + static_cast<std::uint64_t>(c.a_off) >= 1 << 20) return "more than a barrier can count";
  return nullptr;
}

}  // namespace ferry::latency
