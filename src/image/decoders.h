// One function a format: encoded bytes to RGB rows. Each throws Error(kImage) with `name` as its subject.
#pragma once

#include <string>
#include <string_view>

#include "ferry/image.h"

namespace ferry {

struct DecodeJob {
  std::string_view bytes;
  const std::string& name;
  std::int64_t max_pixels;
  /// Not null: a decoder may leave out what this preset does not need, and then says in `part` what there is.
  const Preprocessing* preset = nullptr;
  ImageView* part = nullptr;
};

/// Refuses empty and oversized pictures.
void check_size(const DecodeJob& job, std::int64_t width, std::int64_t height);
/// The same, then sizes `into`.
void allocate_image(const DecodeJob& job, std::int64_t width, std::int64_t height, ImageU8& into);
[[noreturn]] void refuse_image(const DecodeJob& job, const char* format, const std::string& why);

void decode_jpeg(const DecodeJob& job, ImageU8& into);
void decode_png(const DecodeJob& job, ImageU8& into);
void decode_webp(const DecodeJob& job, ImageU8& into);
/// False in a build without libwebp; then `decode_webp` refuses.
bool webp_available() noexcept;

/// The EXIF orientation (1 to 8) of a JPEG, PNG or WebP file; 1 if there is none or it is malformed.
int exif_orientation(std::string_view bytes) noexcept;
/// Turns and mirrors so that a picture stored with this orientation stands upright.
void apply_orientation(int orientation, ImageU8& image);

}  // namespace ferry
