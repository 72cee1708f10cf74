// JPEG through libjpeg (libjpeg-turbo), with Pillow's choices: slow integer DCT, smooth chroma upsampling, four-channel
// files taken as Adobe's inverted CMYK. libjpeg rather than the TurboJPEG API because only it tells a truncated file
// from one with harmless warnings.
#include <csetjmp>
#include <cstdio>
// jpeglib.h needs stdio.h before it.
#include <fmt/format.h>
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <vector>

#include "image/decoders.h"
#include "image/geometry.h"

namespace ferry {
namespace {

// A progressive file may hold any number of scans over the whole picture; real ones have about ten.
constexpr int kMaxScans = 500;

struct Decoder {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf failed{};
  bool truncated = false;
  char message[JMSG_LENGTH_MAX] = "";

  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { jpeg_destroy_decompress(&jpeg); }  // harmless on a zeroed struct
};

Decoder& decoder_of(j_common_ptr jpeg) { return *static_cast<Decoder*>(jpeg->client_data); }

[[noreturn]] void on_error(j_common_ptr jpeg) {
  Decoder& decoder = decoder_of(jpeg);
  jpeg->err->format_message(jpeg, decoder.message);
  std::longjmp(decoder.failed, 1);
}

void on_message(j_common_ptr jpeg, int level) {
  if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF) decoder_of(jpeg).truncated = true;
}

void on_progress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= kMaxScans) return;
  Decoder& decoder = decoder_of(jpeg);
  std::snprintf(decoder.message, sizeof decoder.message, "more than %d scans", kMaxScans);
  std::longjmp(decoder.failed, 1);
}

// Pillow's cmyk2rgb, on values that Adobe stores inverted.
void inverted_cmyk_to_rgb(const std::uint8_t* from, std::uint8_t* to, int width) {
  for (int x = 0; x < width; ++x, from += 4, to += 3) {
    const int light = from[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - from[c]) * light + 128;
      to[c] = static_cast<std::uint8_t>(light - ((product + (product >> 8)) >> 8));
    }
  }
}

// The functions below hold nothing with a destructor: a longjmp may leave them.
bool start(Decoder& decoder, std::string_view bytes) {
  if (setjmp(decoder.failed)) return false;
  jpeg_create_decompress(&decoder.jpeg);
  decoder.jpeg.client_data = &decoder;
  decoder.jpeg.progress = &decoder.progress;
  decoder.progress.progress_monitor = on_progress;
  jpeg_mem_src(&decoder.jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&decoder.jpeg, TRUE);
  return true;
}

// What is decoded: all of the picture, or the columns and rows that a crop needs.
struct Area {
  JDIMENSION left, top, width, height;
};

void read_rows(Decoder& decoder, std::uint8_t* to, std::size_t stride, JDIMENSION count, std::uint8_t* cmyk_row) {
  jpeg_decompress_struct& jpeg = decoder.jpeg;
  for (const JDIMENSION end = jpeg.output_scanline + count; jpeg.output_scanline < end; to += stride) {
    JSAMPROW row = cmyk_row ? cmyk_row : to;
    jpeg_read_scanlines(&jpeg, &row, 1);
    if (cmyk_row) inverted_cmyk_to_rgb(cmyk_row, to, static_cast<int>(jpeg.output_width));
  }
}

bool begin(Decoder& decoder, bool cmyk, bool whole, Area& area) {
  if (setjmp(decoder.failed)) return false;
  decoder.jpeg.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&decoder.jpeg);
  if (!whole) jpeg_crop_scanline(&decoder.jpeg, &area.left, &area.width);  // moves `left` to a border of blocks
  return true;
}

bool read_area(Decoder& decoder, const Area& area, ImageU8& into, std::uint8_t* cmyk_row, std::uint8_t* spare_row) {
  if (setjmp(decoder.failed)) return false;
  jpeg_decompress_struct& jpeg = decoder.jpeg;
  if (area.top > 0) jpeg_skip_scanlines(&jpeg, area.top);
  read_rows(decoder, into.pixels.data(), std::size_t{3} * area.width, area.height, cmyk_row);
  // The last row is read whatever is needed: without it a truncated file would go unnoticed.
  const JDIMENSION rest = jpeg.output_height - jpeg.output_scanline;
  if (rest > 1) jpeg_skip_scanlines(&jpeg, rest - 1);
  if (rest > 0) read_rows(decoder, spare_row, 0, 1, cmyk_row);
  return true;
}

// Columns at the border of a cropped area lack a neighbour for the chroma's upsampling: they are decoded and not used.
constexpr int kMargin = 2;

Area area_of(const DecodeJob& job, int width, int height) {
  const NeededPart need = needed_part(width, height, crop_window(width, height, *job.preset));
  const int left = std::max(need.left - kMargin, 0), right = std::min(need.right + kMargin, width);
  return {static_cast<JDIMENSION>(left), static_cast<JDIMENSION>(need.top), static_cast<JDIMENSION>(right - left),
          static_cast<JDIMENSION>(need.bottom - need.top)};
}

}  // namespace

void decode_jpeg(const DecodeJob& job, ImageU8& into) {
  Decoder decoder;
  decoder.jpeg.err = jpeg_std_error(&decoder.errors);
  decoder.jpeg.client_data = &decoder;
  decoder.errors.error_exit = on_error;
  decoder.errors.emit_message = on_message;
  if (!start(decoder, job.bytes)) refuse_image(job, "JPEG", decoder.message);

  const int channels = decoder.jpeg.num_components;
  if (channels != 1 && channels != 3 && channels != 4)
    refuse_image(job, "JPEG", fmt::format("{} colour channels", channels));
  const int width = static_cast<int>(decoder.jpeg.image_width), height = static_cast<int>(decoder.jpeg.image_height);
  check_size(job, width, height);
  const bool cmyk = channels == 4, whole = cmyk || job.preset == nullptr;
  Area area{0, 0, decoder.jpeg.image_width, decoder.jpeg.image_height};
  if (!whole) area = area_of(job, width, height);
  if (!begin(decoder, cmyk, whole, area)) refuse_image(job, "JPEG", decoder.message);
  allocate_image(job, area.width, area.height, into);
  std::vector<std::uint8_t> cmyk_row(cmyk ? std::size_t{4} * area.width : 0), spare(std::size_t{3} * area.width);
  if (!read_area(decoder, area, into, cmyk ? cmyk_row.data() : nullptr, spare.data()))
    refuse_image(job, "JPEG", decoder.message);
  if (decoder.truncated) refuse_image(job, "JPEG", "the file is truncated");
  if (whole) return;
  ImageView& part = *job.part;
  part = ImageView(into);
  part.width = width;
  part.height = height;
  part.left = static_cast<int>(area.left);
  part.top = static_cast<int>(area.top);
}

}  // namespace ferry
