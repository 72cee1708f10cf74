#include "image/thumbnail.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
// jpeglib.h needs stdio.h before it.
#include <jpeglib.h>

#include <algorithm>
#include <new>

namespace ferry {
namespace {

constexpr int kQuality = 80;

struct Encoder {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  std::jmp_buf failed{};
  unsigned char* bytes = nullptr;
  unsigned long size = 0;

  Encoder() = default;
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
  ~Encoder() {
    jpeg_destroy_compress(&jpeg);
    std::free(bytes);
  }
};

[[noreturn]] void on_encoder_error(j_common_ptr jpeg) {
  std::longjmp(static_cast<Encoder*>(jpeg->client_data)->failed, 1);
}

// Holds nothing with a destructor: a longjmp may leave it.
bool encode(Encoder& encoder, const std::uint8_t* pixels, int side) {
  if (setjmp(encoder.failed)) return false;
  jpeg_compress_struct& jpeg = encoder.jpeg;
  jpeg_create_compress(&jpeg);
  jpeg.client_data = &encoder;
  jpeg_mem_dest(&jpeg, &encoder.bytes, &encoder.size);
  jpeg.image_width = jpeg.image_height = static_cast<JDIMENSION>(side);
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, kQuality, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  for (int y = 0; y < side; ++y) {
    JSAMPROW row = const_cast<JSAMPROW>(pixels + static_cast<std::ptrdiff_t>(y) * side * 3);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  return true;
}

}  // namespace

Preprocessing thumbnail_preset(const Preprocessing& preset, int side) {
  Preprocessing small = preset;
  small.crop = side;
  small.resize = std::clamp(static_cast<int>(std::int64_t{side} * preset.resize / preset.crop), 1, 16384);
  return small;
}

std::string thumbnail(const ImageView& image, Preprocessor& preprocessor) {
  const std::span<const std::uint8_t> pixels = preprocessor.pixels(image);
  Encoder encoder;
  encoder.jpeg.err = jpeg_std_error(&encoder.errors);
  encoder.jpeg.client_data = &encoder;
  encoder.errors.error_exit = on_encoder_error;
  if (!encode(encoder, pixels.data(), preprocessor.preset().crop))
    throw std::bad_alloc();  // nothing else can fail here
  return {reinterpret_cast<const char*>(encoder.bytes), encoder.size};
}

}  // namespace ferry
