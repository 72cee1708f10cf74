// EXIF orientation: tag 0x0112 of the first directory of a TIFF structure, which JPEG keeps in an APP1 segment, PNG in
// an eXIf chunk and WebP in an EXIF chunk.
#include <cstdint>

#include "image/decoders.h"

namespace ferry {
namespace {

using namespace std::string_view_literals;

std::uint32_t number(std::string_view bytes, std::size_t at, std::size_t size, bool big_endian) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < size; ++i)
    value = value << 8 | static_cast<std::uint8_t>(bytes[at + (big_endian ? i : size - 1 - i)]);
  return value;
}

int orientation_in_tiff(std::string_view tiff) {
  if (tiff.starts_with("Exif\0\0"sv)) tiff.remove_prefix(6);
  if (tiff.size() < 8) return 1;
  const bool big = tiff.starts_with("MM");
  if (!big && !tiff.starts_with("II")) return 1;
  const std::size_t directory = number(tiff, 4, 4, big);
  if (directory > tiff.size() - 2) return 1;
  const std::size_t entries = number(tiff, directory, 2, big);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t at = directory + 2 + 12 * i;
    if (at + 12 > tiff.size()) return 1;
    if (number(tiff, at, 2, big) != 0x0112) continue;
    const std::uint32_t value = number(tiff, at + 8, 2, big);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

int orientation_in_jpeg(std::string_view bytes) {
  for (std::size_t at = 2; at + 4 <= bytes.size();) {
    const auto marker = number(bytes, at, 2, true);
    const std::size_t length = number(bytes, at + 2, 2, true);
    if (marker < 0xff01 || marker == 0xffda || length < 2 || at + 2 + length > bytes.size()) return 1;
    const std::string_view body = bytes.substr(at + 4, length - 2);
    if (marker == 0xffe1 && body.starts_with("Exif\0\0"sv)) return orientation_in_tiff(body);
    at += 2 + length;
  }
  return 1;
}

// PNG: length, type, data, CRC, big-endian. RIFF: type, length, data, padded to even, little-endian.
int orientation_in_chunks(std::string_view bytes, std::size_t at, bool png) {
  while (at + 8 <= bytes.size()) {
    const std::string_view type = bytes.substr(at + (png ? 4 : 0), 4);
    const std::size_t length = number(bytes, at + (png ? 0 : 4), 4, png);
    if (length > bytes.size() - at - 8) return 1;
    if (type == (png ? "eXIf"sv : "EXIF"sv)) return orientation_in_tiff(bytes.substr(at + 8, length));
    at += 8 + length + (png ? 4 : length % 2);
  }
  return 1;
}

}  // namespace

int exif_orientation(std::string_view bytes) noexcept {
  if (bytes.starts_with("\xff\xd8"sv)) return orientation_in_jpeg(bytes);
  if (bytes.starts_with("\x89PNG"sv)) return orientation_in_chunks(bytes, 8, true);
  if (bytes.starts_with("RIFF"sv)) return orientation_in_chunks(bytes, 12, false);
  return 1;
}

void apply_orientation(int orientation, ImageU8& image) {
  if (orientation <= 1 || orientation > 8) return;
  const bool transposed = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  ImageU8 turned;
  turned.width = transposed ? image.height : image.width;
  turned.height = transposed ? image.width : image.height;
  turned.pixels.resize(image.pixels.size());
  for (int y = 0; y < turned.height; ++y) {
    std::uint8_t* to = turned.row(y);
    for (int x = 0; x < turned.width; ++x, to += 3) {
      int sx = transposed ? y : x, sy = transposed ? x : y;
      if (flip_x) sx = image.width - 1 - sx;
      if (flip_y) sy = image.height - 1 - sy;
      const std::uint8_t* from = image.row(sy) + std::size_t{3} * sx;
      to[0] = from[0], to[1] = from[1], to[2] = from[2];
    }
  }
  image = std::move(turned);
}

}  // namespace ferry
