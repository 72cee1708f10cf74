#include <gmock/gmock.h>

#include <random>

#include "ferry/error.h"
#include "ferry/image.h"
#include "image/thumbnail.h"
#include "unit/image/fixtures.h"

namespace ferry {
namespace {

Preprocessing preset(int resize, int crop) {
  Preprocessing p;
  p.resize = resize;
  p.crop = crop;
  return p;
}

// A JPEG of noise, 4:2:0, with a crop of which whole blocks on every side are not needed.
std::string noisy_jpeg(int side) {
  ImageU8 image{side, side, std::vector<std::uint8_t>(std::size_t{3} * side * side)};
  std::mt19937 random(3);
  for (std::uint8_t& v : image.pixels) v = static_cast<std::uint8_t>(random());
  Preprocessor whole(preset(side, side));
  return thumbnail(image, whole);
}

std::vector<std::uint8_t> crop_of(const ImageView& image, const Preprocessing& p) {
  Preprocessor preprocessor(p);
  const auto pixels = preprocessor.pixels(image);
  return {pixels.begin(), pixels.end()};
}

TEST(Part, OfAJpegIsSmallerAndGivesTheSameCrop) {
  const std::string jpeg = noisy_jpeg(301);
  for (const auto& [resize, crop] : {std::pair{256, 224}, {64, 32}, {301, 7}, {40, 40}, {20, 32}}) {
    ImageU8 memory;
    const ImageView part = decode_part(jpeg, "p", {}, preset(resize, crop), memory);
    EXPECT_EQ(part.width, 301);
    if (resize == 64) {
      EXPECT_LT(part.part_width * part.part_height, 301 * 301 / 3);
    }
    EXPECT_EQ(crop_of(part, preset(resize, crop)), crop_of(decode_image(jpeg, "p"), preset(resize, crop))) << crop;
  }
}

TEST(Part, OfATruncatedFileIsRefusedAlsoWhereNothingNeededIsMissing) {
  const std::string jpeg = noisy_jpeg(301);
  ImageU8 memory;
  try {
    decode_part(jpeg.substr(0, jpeg.size() * 97 / 100), "cut.jpg", {}, preset(301, 7), memory);
    ADD_FAILURE() << "the last rows are missing";
  } catch (const Error& error) {
    EXPECT_THAT(error.cause(), testing::HasSubstr("truncated"));
  }
}

TEST(Part, OfOtherFormatsAndTurnedPicturesIsTheWhole) {
  ImageU8 memory;
  const ImageView tall = decode_part(fixture_bytes("tall.png"), "t", {}, preset(20, 16), memory);
  EXPECT_EQ(tall.part_height, tall.height);
  const std::string turned = fixture_bytes("orientation6.jpg");
  const ImageView view = decode_part(turned, "o", {.exif_orientation = true}, preset(20, 16), memory);
  EXPECT_EQ(crop_of(view, preset(20, 16)),
            crop_of(decode_image(turned, "o", {.exif_orientation = true}), preset(20, 16)));
}

TEST(Part, TooSmallForACropIsRefused) {
  ImageU8 memory;
  const ImageView part = decode_part(noisy_jpeg(301), "p", {}, preset(301, 7), memory);
  EXPECT_THROW(crop_of(part, preset(64, 32)), Error);
}

TEST(Thumbnails, ShowWhatTheNetworkSees) {
  const ImageU8 image = read_image(fixture("baseline.jpg"));
  Preprocessor small(thumbnail_preset(preset(256, 224), 28));
  EXPECT_EQ(small.preset().resize, 32);
  const ImageU8 back = decode_image(thumbnail(image, small), "thumbnail");
  EXPECT_EQ(back.width, 28);
  double difference = 0;
  const auto crop = small.pixels(image);
  for (std::size_t i = 0; i < crop.size(); ++i) difference += std::abs(crop[i] - back.pixels[i]);
  EXPECT_LT(difference / static_cast<double>(crop.size()), 12);
}

}  // namespace
}  // namespace ferry
