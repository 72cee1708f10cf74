// Prints what ferry makes of each picture named on the command line or, one a line, on standard input: path, size, and
// SHA-256 of the decoded pixels, of the crop and of the floats. python/check_images.py compares that with Pillow.
//   image_dump [--exif] PRESET FILE...
#include <cstdio>
#include <iostream>
#include <string>

#include "base/files.h"
#include "ferry/error.h"
#include "ferry/image.h"

namespace {

std::string digest(const void* data, std::size_t bytes) {
  return ferry::sha256({static_cast<const char*>(data), bytes}).substr(0, 16);
}

void dump(const std::string& path, const ferry::DecodeOptions& options, ferry::Preprocessor& preprocessor) {
  try {
    const ferry::ImageU8 image = ferry::read_image(path, options);
    const auto crop = preprocessor.pixels(image);
    const std::string crop_digest = digest(crop.data(), crop.size());
    ferry::ImageU8 memory;
    const ferry::ImageView part =
        ferry::decode_part(ferry::read_file(path, ferry::Stage::kImage), path, options, preprocessor.preset(), memory);
    const auto crop_of_part = preprocessor.pixels(part);
    if (digest(crop_of_part.data(), crop_of_part.size()) != crop_digest) {
      std::printf("%s\tdiffers when only a part is decoded\n", path.c_str());
      return;
    }
    std::vector<float> floats(preprocessor.floats());
    preprocessor.run(image, floats.data());
    std::printf("%s\t%d\t%d\t%s\t%s\t%s\n", path.c_str(), image.width, image.height,
                digest(image.pixels.data(), image.pixels.size()).c_str(), crop_digest.c_str(),
                digest(floats.data(), floats.size() * sizeof(float)).c_str());
  } catch (const ferry::Error& error) {
    std::printf("%s\terror\t%s\n", path.c_str(), error.cause().c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  ferry::DecodeOptions options;
  int first = 1;
  if (first < argc && std::string(argv[first]) == "--exif") options.exif_orientation = true, ++first;
  if (first == argc) return std::fputs("usage: image_dump [--exif] PRESET FILE...\n", stderr), 2;
  ferry::Preprocessor preprocessor(ferry::preprocessing_named(argv[first++]));
  for (int i = first; i < argc; ++i) dump(argv[i], options, preprocessor);
  if (first == argc)
    for (std::string path; std::getline(std::cin, path);) dump(path, options, preprocessor);
}
