// Any bytes into the picture decoders and the preprocessing behind them: a picture or an Error(kImage), never anything
// else; the same where only the part that the crop needs is decoded. The pixel limit keeps one input cheap.
#include <cstdint>
#include <string_view>

#include "ferry/error.h"
#include "ferry/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ferry::Preprocessor preprocessor{ferry::Preprocessing{}};
  try {
    const ferry::DecodeOptions options{.exif_orientation = true, .max_pixels = 1 << 20};
    const ferry::ImageU8 image = ferry::decode_image({reinterpret_cast<const char*>(data), size}, "input", options);
    if (preprocessor.pixels(image).size() != std::size_t{3} * 224 * 224) __builtin_trap();
    ferry::ImageU8 memory;
    const ferry::ImageView part = ferry::decode_part({reinterpret_cast<const char*>(data), size}, "input",
                                                     {.max_pixels = 1 << 20}, preprocessor.preset(), memory);
    if (preprocessor.pixels(part).size() != std::size_t{3} * 224 * 224) __builtin_trap();
  } catch (const ferry::Error& error) {
    if (error.stage() != ferry::Stage::kImage) __builtin_trap();
  }
  return 0;
}
