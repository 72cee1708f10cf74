#include <gmock/gmock.h>

#include <cmath>

#include "ferry/error.h"
#include "ferry/image.h"
#include "image/geometry.h"
#include "image/resample.h"

namespace ferry {
namespace {

ImageU8 constant_image(int width, int height, std::uint8_t value) {
  ImageU8 image;
  image.width = width;
  image.height = height;
  image.pixels.assign(std::size_t{3} * width * height, value);
  return image;
}

TEST(Presets, AreTorchvisions) {
  EXPECT_EQ(preprocessing_named("imagenet-v1").resize, 256);
  EXPECT_EQ(preprocessing_named("imagenet-v2").resize, 232);
  for (const std::string& name : preprocessing_names()) {
    EXPECT_EQ(preprocessing_named(name).name, name);
    EXPECT_EQ(preprocessing_named(name).crop, 224);
  }
  EXPECT_THROW(preprocessing_named("imagenet-v3"), Error);
}

TEST(Geometry, RoundsAsTorchvision) {
  const Preprocessing preset;
  // int(256 * 500 / 375) = 341; round((341 - 224) / 2.0) = round(58.5) = 58, halves to even.
  CropWindow window = crop_window(500, 375, preset);
  EXPECT_EQ(window.x.resized, 341);
  EXPECT_EQ(window.x.first, 58);
  EXPECT_EQ(window.y.resized, 256);
  EXPECT_EQ(window.y.first, 16);
  // 343 - 224 = 119: 59.5 rounds to 60.
  Preprocessing odd;
  odd.resize = 343;
  window = crop_window(10, 10, odd);
  EXPECT_EQ(window.x.first, 60);
}

TEST(Geometry, PadsASmallerPictureAsTorchvision) {
  Preprocessing preset;
  preset.resize = 101;
  preset.crop = 110;
  const CropWindow window = crop_window(50, 50, preset);
  EXPECT_EQ(window.x.first, -4);  // (110 - 101) / 2 on the left, 5 on the right
  EXPECT_EQ(window.x.begin, 4);
  EXPECT_EQ(window.x.end, 105);
}

TEST(Geometry, RefusesAnAbsurdAspect) {
  Preprocessing preset;
  preset.resize = 16384;
  EXPECT_THROW(crop_window(1, 100'000'000, preset), Error);
}

TEST(Resample, WeightsSumToOne) {
  ResampleAxis axis;
  for (const auto& [in, out] : {std::pair{500, 341}, {3, 256}, {5000, 224}, {256, 256}}) {
    axis.assign(in, out, 0, out);
    ASSERT_EQ(axis.outputs.size(), static_cast<std::size_t>(out));
    EXPECT_EQ(axis.source_first, 0);
    EXPECT_EQ(axis.source_end, in);
    for (const auto& o : axis.outputs) {
      std::int64_t sum = 0;
      for (int t = 0; t < o.taps; ++t) sum += axis.weights[o.weights + t];
      EXPECT_NEAR(static_cast<double>(sum), 1 << 22, o.taps / 2.0 + 1);
      EXPECT_LE(o.start + o.taps, in);
    }
  }
}

TEST(Preprocessor, NormalisesAConstantPicture) {
  Preprocessor preprocessor(preprocessing_named("imagenet-v1"));
  std::vector<float> planes(preprocessor.floats());
  for (const auto& [width, height] : {std::pair{640, 480}, {10, 900}, {1, 1}, {224, 224}}) {
    preprocessor.run(constant_image(width, height, 200), planes.data());
    const auto& preset = preprocessor.preset();
    const std::size_t plane = planes.size() / 3;
    for (std::size_t i = 0; i < planes.size(); ++i)
      ASSERT_EQ(planes[i], (200 / 255.0f - preset.mean[i / plane]) / preset.std[i / plane]);
  }
}

TEST(Preprocessor, FillsTheBorderWithBlack) {
  Preprocessing preset;
  preset.resize = 2;
  preset.crop = 4;
  Preprocessor preprocessor(preset);
  const auto crop = preprocessor.pixels(constant_image(9, 9, 255));
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 4; ++x)
      EXPECT_EQ(crop[3 * (4 * y + x)], x >= 1 && x < 3 && y >= 1 && y < 3 ? 255 : 0) << x << "," << y;
}

TEST(Preprocessor, RefusesWhatMakesNoSense) {
  Preprocessing preset;
  preset.crop = 0;
  EXPECT_THROW(Preprocessor{preset}, Error);
  preset = {};
  preset.std[1] = 0;
  EXPECT_THROW(Preprocessor{preset}, Error);
  preset.std[1] = std::nanf("");
  EXPECT_THROW(Preprocessor{preset}, Error);
  ImageU8 lying = constant_image(4, 4, 0);
  lying.height = 5;
  Preprocessor preprocessor(Preprocessing{});
  EXPECT_THROW(preprocessor.pixels(lying), Error);
}

}  // namespace
}  // namespace ferry
