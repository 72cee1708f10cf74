// PNG through libpng, giving what Pillow's convert("RGB") gives: alpha is dropped, not blended; 16 bits keep the high
// byte, except 16-bit grey, where Pillow clips to 255; a palette index beyond the palette is a grey of that value.
#include <png.h>

#include <csetjmp>
#include <cstring>
#include <vector>

#include "image/decoders.h"

namespace ferry {
namespace {

struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string_view rest;
  char message[200] = "";
  bool clip_grey16 = false;
  std::uint8_t palette[256][3];
  bool indexed = false;

  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto& reader = *static_cast<Reader*>(png_get_error_ptr(png));
  std::snprintf(reader.message, sizeof reader.message, "%s", text);
  png_longjmp(png, 1);
}
void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep to, std::size_t size) {
  auto& reader = *static_cast<Reader*>(png_get_io_ptr(png));
  if (size > reader.rest.size()) png_error(png, "the file is truncated");
  std::memcpy(to, reader.rest.data(), size);
  reader.rest.remove_prefix(size);
}

// Functions that libpng may leave by longjmp hold nothing with a destructor.
bool read_header(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  png_set_user_limits(reader.png, 0x7fffffff, 0x7fffffff);  // allocate_image has the limit
  png_set_keep_unknown_chunks(reader.png, PNG_HANDLE_CHUNK_NEVER, nullptr, 0);
  png_read_info(reader.png, reader.info);
  return true;
}

void fill_palette(Reader& reader) {
  for (int i = 0; i < 256; ++i) std::memset(reader.palette[i], i, 3);
  png_colorp colours = nullptr;
  int count = 0;
  png_get_PLTE(reader.png, reader.info, &colours, &count);
  for (int i = 0; i < count && i < 256; ++i) {
    reader.palette[i][0] = colours[i].red;
    reader.palette[i][1] = colours[i].green;
    reader.palette[i][2] = colours[i].blue;
  }
}

bool set_transforms(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  const int type = png_get_color_type(reader.png, reader.info);
  const int depth = png_get_bit_depth(reader.png, reader.info);
  reader.indexed = type == PNG_COLOR_TYPE_PALETTE;
  reader.clip_grey16 = type == PNG_COLOR_TYPE_GRAY && depth == 16;
  if (reader.indexed) {
    fill_palette(reader);
    png_set_packing(reader.png);
  } else if (!reader.clip_grey16) {
    if (depth < 8) png_set_expand_gray_1_2_4_to_8(reader.png);
    if (depth == 16) png_set_strip_16(reader.png);
    if (type & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(reader.png);
    if (!(type & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(reader.png);
  }
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return true;
}

bool read_rows(Reader& reader, png_bytepp rows) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  png_read_image(reader.png, rows);
  return true;
}

// Indexed and 16-bit grey rows are narrower than RGB rows: they lie at the end of their row and widen in place.
void widen(const Reader& reader, const std::uint8_t* from, std::uint8_t* to, int width) {
  for (int x = 0; x < width; ++x, to += 3) {
    if (reader.indexed) {
      const std::uint8_t index = from[x];
      std::memcpy(to, reader.palette[index], 3);
    } else {
      const std::uint8_t grey = from[2 * x] ? 255 : from[2 * x + 1];
      std::memset(to, grey, 3);
    }
  }
}

}  // namespace

void decode_png(const DecodeJob& job, ImageU8& into) {
  Reader reader;
  reader.rest = job.bytes;
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
  if (reader.png) reader.info = png_create_info_struct(reader.png);
  if (!reader.info) refuse_image(job, "PNG", "libpng could not start");
  png_set_read_fn(reader.png, &reader, on_read);
  if (!read_header(reader)) refuse_image(job, "PNG", reader.message);
  allocate_image(job, png_get_image_width(reader.png, reader.info), png_get_image_height(reader.png, reader.info),
                 into);
  if (!set_transforms(reader)) refuse_image(job, "PNG", reader.message);

  const std::size_t stride = png_get_rowbytes(reader.png, reader.info);
  const std::size_t rgb_stride = std::size_t{3} * into.width;
  if (stride > rgb_stride) refuse_image(job, "PNG", "unexpected row size");
  std::vector<png_bytep> rows(into.height);
  for (int y = 0; y < into.height; ++y) rows[y] = into.row(y) + (rgb_stride - stride);
  if (!read_rows(reader, rows.data())) refuse_image(job, "PNG", reader.message);
  if (stride == rgb_stride) return;
  for (int y = 0; y < into.height; ++y) widen(reader, rows[y], into.row(y), into.width);
}

}  // namespace ferry
