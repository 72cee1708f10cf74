// Which decoder: by the first bytes, never by the file's name.
#include <fmt/format.h>

#include <filesystem>

#include "base/files.h"
#include "ferry/error.h"
#include "image/decoders.h"

namespace ferry {
namespace {

using namespace std::string_view_literals;

struct Format {
  const char* name;
  std::string_view magic;
  std::size_t offset;
  void (*decode)(const DecodeJob&, ImageU8&);
};
constexpr Format kFormats[] = {{"JPEG", "\xff\xd8\xff"sv, 0, decode_jpeg},
                               {"PNG", "\x89PNG\r\n\x1a\n"sv, 0, decode_png},
                               {"WebP", "WEBP"sv, 8, decode_webp}};

// Formats that people have and that ferry does not decode: the message names them.
constexpr struct {
  const char* name;
  std::string_view magic;
  std::size_t offset;
} kForeign[] = {{"GIF", "GIF8"sv, 0},
                {"BMP", "BM"sv, 0},
                {"TIFF", "II*\0"sv, 0},
                {"TIFF", "MM\0*"sv, 0},
                {"HEIF or AVIF", "ftyp"sv, 4},
                {"PDF", "%PDF"sv, 0},
                {"JPEG 2000", "\0\0\0\x0cjP"sv, 0}};

[[noreturn]] void refuse_unknown(const DecodeJob& job) {
  if (job.bytes.empty()) throw Error(Stage::kImage, job.name, "the file is empty");
  for (const auto& foreign : kForeign)
    if (job.bytes.substr(std::min(foreign.offset, job.bytes.size())).starts_with(foreign.magic))
      throw Error(Stage::kImage, job.name, fmt::format("{} pictures are not supported", foreign.name),
                  "Convert it to JPEG, PNG or WebP.");
  throw Error(Stage::kImage, job.name, "not a JPEG, PNG or WebP picture");
}

void decode(const DecodeJob& job, const DecodeOptions& options, ImageU8& into) {
  for (const Format& format : kFormats) {
    if (!job.bytes.substr(std::min(format.offset, job.bytes.size())).starts_with(format.magic)) continue;
    format.decode(job, into);
    if (options.exif_orientation) apply_orientation(exif_orientation(job.bytes), into);
    return;
  }
  refuse_unknown(job);
}

}  // namespace

void refuse_image(const DecodeJob& job, const char* format, const std::string& why) {
  throw Error(Stage::kImage, job.name, fmt::format("{}: {}", format, why));
}

void check_size(const DecodeJob& job, std::int64_t width, std::int64_t height) {
  if (width < 1 || height < 1) throw Error(Stage::kImage, job.name, "the picture has no pixels");
  if (width > job.max_pixels / height)
    throw Error(Stage::kImage, job.name,
                fmt::format("{}x{} pixels are more than the limit of {} (a decompression bomb?)", width, height,
                            job.max_pixels));
}

void allocate_image(const DecodeJob& job, std::int64_t width, std::int64_t height, ImageU8& into) {
  check_size(job, width, height);
  into.width = static_cast<int>(width);
  into.height = static_cast<int>(height);
  into.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
}

void decode_image(std::string_view bytes, const std::string& name, const DecodeOptions& options, ImageU8& into) {
  decode({bytes, name, options.max_pixels}, options, into);
}

ImageView decode_part(std::string_view bytes, const std::string& name, const DecodeOptions& options,
                      const Preprocessing& preset, ImageU8& into) {
  ImageView part;
  DecodeJob job{bytes, name, options.max_pixels};
  if (!options.exif_orientation) {
    job.preset = &preset;
    job.part = &part;
  }
  decode(job, options, into);
  return part.pixels != nullptr ? part : ImageView(into);
}

ImageU8 decode_image(std::string_view bytes, const std::string& name, const DecodeOptions& options) {
  ImageU8 image;
  decode_image(bytes, name, options, image);
  return image;
}

ImageU8 read_image(const std::string& path, const DecodeOptions& options) {
  return decode_image(read_file(path, Stage::kImage), path, options);
}

std::vector<std::string> image_formats() {
  std::vector<std::string> names{"JPEG", "PNG"};
  if (webp_available()) names.emplace_back("WebP");
  return names;
}

}  // namespace ferry
