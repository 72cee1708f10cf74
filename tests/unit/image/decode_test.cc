#include <gmock/gmock.h>

#include <cstring>

#include "ferry/error.h"
#include "ferry/image.h"
#include "unit/image/fixtures.h"

namespace ferry {
namespace {

std::string stem(const std::string& name) { return name.substr(0, name.rfind('.')); }

bool decodable(const std::string& name) {
  const auto formats = image_formats();
  return !name.ends_with(".webp") || std::find(formats.begin(), formats.end(), "WebP") != formats.end();
}

void expect_same(const ImageU8& image, const Tensor& golden) {
  ASSERT_EQ(golden.shape(), (Shape{image.height, image.width, 3}));
  ASSERT_EQ(golden.size_bytes(), image.pixels.size());
  EXPECT_EQ(std::memcmp(golden.data(), image.pixels.data(), image.pixels.size()), 0);
}

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, PixelsArePillows) {
  const std::string name = GetParam();
  if (!decodable(name)) GTEST_SKIP() << "built without libwebp";
  DecodeOptions options;
  options.exif_orientation = name.starts_with("orientation");
  expect_same(read_image(fixture(name), options), read_npy(fixture(stem(name) + ".npy")));
}

TEST_P(Golden, CropIsTorchvisions) {
  const std::string name = GetParam();
  if (!decodable(name)) GTEST_SKIP() << "built without libwebp";
  DecodeOptions options;
  options.exif_orientation = name.starts_with("orientation");
  Preprocessing preset;
  preset.resize = 20;
  preset.crop = 16;
  Preprocessor preprocessor(preset);
  const auto crop = preprocessor.pixels(read_image(fixture(name), options));
  const Tensor golden = read_npy(fixture(stem(name) + ".crop.npy"));
  ASSERT_EQ(golden.size_bytes(), crop.size());
  EXPECT_EQ(std::memcmp(golden.data(), crop.data(), crop.size()), 0);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Golden,
                         testing::Values("baseline.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg", "orientation2.jpg",
                                         "orientation3.jpg", "orientation4.jpg", "orientation5.jpg", "orientation6.jpg",
                                         "orientation7.jpg", "orientation8.jpg", "tall.png", "small.png", "palette.png",
                                         "alpha.png", "grey16.png", "bits.png", "lossy.webp", "lossless.webp"));

std::string why_refused(const std::string& bytes, const DecodeOptions& options = {}) {
  try {
    decode_image(bytes, "photo.jpg", options);
  } catch (const Error& error) {
    EXPECT_EQ(error.stage(), Stage::kImage);
    EXPECT_EQ(error.subject(), "photo.jpg");
    return error.cause();
  }
  return "not refused";
}

TEST(Decode, OrientationIsIgnoredUnlessAskedFor) {
  EXPECT_EQ(read_image(fixture("orientation6.jpg")).width, 21);
  EXPECT_EQ(read_image(fixture("orientation6.jpg"), {.exif_orientation = true}).width, 13);
}

TEST(Decode, RefusesWhatIsNoPicture) {
  EXPECT_EQ(why_refused(""), "the file is empty");
  EXPECT_EQ(why_refused("hello"), "not a JPEG, PNG or WebP picture");
  EXPECT_EQ(why_refused("GIF89a...."), "GIF pictures are not supported");
  EXPECT_EQ(why_refused(std::string("\0\0\0\x1c"
                                    "ftypavif",
                                    12)),
            "HEIF or AVIF pictures are not supported");
}

TEST(Decode, RefusesEveryTruncation) {
  for (const char* name : {"baseline.jpg", "progressive.jpg", "cmyk.jpg", "alpha.png", "palette.png"}) {
    const std::string bytes = fixture_bytes(name);
    for (const double share : {0.02, 0.1, 0.3, 0.5, 0.7, 0.9})
      EXPECT_NE(why_refused(bytes.substr(0, static_cast<std::size_t>(share * static_cast<double>(bytes.size())))),
                "not refused")
          << name << " cut at " << share;
  }
}

TEST(Decode, RefusesABombBeforeAllocating) {
  const std::string bomb = fixture_bytes("alpha.png");
  EXPECT_THAT(why_refused(bomb, {.max_pixels = 41 * 29 - 1}),
              testing::HasSubstr("41x29 pixels are more than the limit"));
  EXPECT_EQ(why_refused(bomb, {.max_pixels = 41 * 29}), "not refused");
  std::string jpeg = fixture_bytes("baseline.jpg");
  const std::size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xff\xdc\xff\xdc");  // 65500 x 65500
  EXPECT_THAT(why_refused(jpeg), testing::HasSubstr("65500x65500 pixels are more than the limit"));
}

TEST(Decode, RefusesADamagedPng) {
  std::string bytes = fixture_bytes("alpha.png");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x55);
  EXPECT_THAT(why_refused(bytes), testing::StartsWith("PNG: "));
}

TEST(Decode, ReusesThePictureItIsGiven) {
  ImageU8 image = read_image(fixture("baseline.jpg"));
  const auto* const memory = image.pixels.data();
  decode_image(fixture_bytes("small.png"), "small.png", {}, image);
  EXPECT_EQ(image.pixels.data(), memory);
  expect_same(image, read_npy(fixture("small.npy")));
}

TEST(Decode, NamesAMissingFile) {
  try {
    read_image("/nowhere/cat.jpg");
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(testing::HasSubstr("/nowhere/cat.jpg"), testing::HasSubstr("No such file")));
  }
}

}  // namespace
}  // namespace ferry
