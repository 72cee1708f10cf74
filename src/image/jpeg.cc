// JPEG through libjpeg (libjpeg-turbo), with Pillow's choices: slow integer DCT, smooth chroma upsampling, four-channel
// files taken as Adobe's inverted CMYK. libjpeg rather than the TurboJPEG API because only it tells a truncated file
// from one with harmless warnings.
#include <csetjmp>
#include <cstdio>
// jpeglib.h needs stdio.h before it.
#include <fmt/format.h>
#include <jerror.h>
#include <jpeglib.h>

#include <vector>

#include "image/decoders.h"

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

bool read_rows(Decoder& decoder, ImageU8& into, std::uint8_t* cmyk_row) {
  if (setjmp(decoder.failed)) return false;
  jpeg_decompress_struct& jpeg = decoder.jpeg;
  jpeg.out_color_space = cmyk_row ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    std::uint8_t* const target = into.row(static_cast<int>(jpeg.output_scanline));
    JSAMPROW row = cmyk_row ? cmyk_row : target;
    jpeg_read_scanlines(&jpeg, &row, 1);
    if (cmyk_row) inverted_cmyk_to_rgb(cmyk_row, target, into.width);
  }
  return true;
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
  allocate_image(job, decoder.jpeg.image_width, decoder.jpeg.image_height, into);
  std::vector<std::uint8_t> cmyk(channels == 4 ? std::size_t{4} * decoder.jpeg.image_width : 0);
  if (!read_rows(decoder, into, channels == 4 ? cmyk.data() : nullptr)) refuse_image(job, "JPEG", decoder.message);
  if (decoder.truncated) refuse_image(job, "JPEG", "the file is truncated");
}

}  // namespace ferry
