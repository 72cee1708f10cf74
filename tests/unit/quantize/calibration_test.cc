#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "ferry/error.h"
#include "ferry/quantize.h"
#include "unit/image/fixtures.h"
#include "unit/quantize/tiny_model.h"

namespace ferry {
namespace {

TEST(CalibrationFiles, ComeBackAsTheyWere) {
  const OnnxModel model = tiny_model();
  CalibrationFile file{"abc", made_up(model), made_up(model)};
  file.ranges.broken.push_back({"x.jpg", "truncated"});
  file.ranges.picture = slow_pictures();
  const CalibrationFile back = calibration_file_from_json(to_json(file), "file");
  EXPECT_EQ(back.ranges.picture.sums, file.ranges.picture.sums);
  EXPECT_EQ(back.ranges.picture.places, file.ranges.picture.places);
  EXPECT_TRUE(back.channels->picture.empty());
  EXPECT_EQ(back.model_sha256, "abc");
  ASSERT_TRUE(back.channels);
  EXPECT_EQ(back.ranges.broken.size(), 1u);
  ASSERT_EQ(back.ranges.tensors.size(), file.ranges.tensors.size());
  for (const auto& [name, s] : file.ranges.tensors) {
    const TensorStatistics& other = back.ranges.tensors.at(name);
    EXPECT_EQ(other.bins, s.bins);
    EXPECT_EQ(other.channel_max, s.channel_max);
    EXPECT_EQ(range_of(other, {}), range_of(s, {}));
  }
}

TEST(CalibrationFiles, OfBeforeHaveNoMomentsAndOthersTheRightNumber) {
  CalibrationFile file{"abc", std::nullopt, made_up(tiny_model())};
  file.ranges.picture = slow_pictures();
  auto json = nlohmann::json::parse(to_json(file));
  json["ranges"]["picture"]["sums"].erase(0);
  EXPECT_THROW(calibration_file_from_json(json.dump(), "x.json"), Error);
  json["ranges"].erase("picture");
  EXPECT_TRUE(calibration_file_from_json(json.dump(), "x.json").ranges.picture.empty());
}

TEST(CalibrationFiles, RefuseOtherContent) {
  for (const char* text :
       {"", "{}", "[1]", R"({"ferry_calibration":2})", R"({"ferry_calibration":1,"model_sha256":3})"})
    EXPECT_THROW(calibration_file_from_json(text, "x.json"), Error) << text;
}

TEST(Quantize, RefusesAFileOfAnotherModel) {
  const OnnxModel model = tiny_model();
  EXPECT_THROW(quantize(model, CalibrationFile{"abc", std::nullopt, made_up(model)}, {}), Error);
}

class Gather : public testing::Test {
 protected:
  Gather() {
    options.loader.preprocessing.resize = 20;
    options.loader.preprocessing.crop = 16;
    options.loader.batch = 2;
    options.loader.threads = 2;
    for (const char* name : {"baseline.jpg", "missing.jpg", "tall.png", "grey.jpg"})
      images.items.push_back({fixture(name), -1});
  }
  static std::vector<Tensor> same(const TensorView& batch) {
    std::vector<Tensor> values;
    values.push_back(Tensor::copy_of(batch));
    return values;
  }
  CalibrateOptions options;
  ImageSet images;
};

TEST_F(Gather, AddsEveryPictureUp) {
  const Calibration calibration = gather({"input"}, same, images, options);
  EXPECT_EQ(calibration.images, 3);
  EXPECT_EQ(calibration.broken.size(), 1u);
  EXPECT_EQ(calibration.tensors.at("input").count, 3u * 3 * 16 * 16);
  EXPECT_EQ(calibration.picture.places, 3u * 16 * 16);
  options.loader.batch = 3;
  options.loader.threads = 1;
  EXPECT_EQ(gather({"input"}, same, images, options).tensors.at("input").bins, calibration.tensors.at("input").bins);
}

TEST_F(Gather, WorksOnOnePictureAndOnADrawnPart) {
  images.items = {images.items[0], images.items[2], images.items[3]};
  options.max_images = 1;
  EXPECT_EQ(gather({"input"}, same, images, options).images, 1);
  options.max_images = 2;
  const Calibration a = gather({"input"}, same, images, options), b = gather({"input"}, same, images, options);
  EXPECT_EQ(a.images, 2);
  EXPECT_EQ(a.tensors.at("input").bins, b.tensors.at("input").bins);
}

TEST_F(Gather, SaysWhatIsWrong) {
  const auto why = [&](const TensorRunner& run) -> std::string {
    try {
      gather({"layer4.relu"}, run, images, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing";
  };
  EXPECT_THAT(why([](const TensorView& batch) {
                std::vector<Tensor> values = same(batch);
                values[0].floats()[7] = std::nanf("");
                return values;
              }),
              testing::AllOf(testing::HasSubstr("layer4.relu"), testing::HasSubstr("NaN")));
  EXPECT_THAT(why([](const TensorView&) { return std::vector<Tensor>(); }), testing::HasSubstr("0 tensors"));
  images.items = {images.items[1]};
  EXPECT_THAT(why(same), testing::HasSubstr("none of the 1 pictures"));
  images.items.clear();
  EXPECT_THAT(why(same), testing::HasSubstr("no pictures"));
}

TEST(WithOutputs, ExposesTensorsInOrder) {
  const OnnxModel model = with_outputs(tiny_model(), {"layer1.0.relu1", "maxpool"});
  const OnnxSummary summary = model.summary();
  ASSERT_EQ(summary.outputs.size(), 2u);
  EXPECT_EQ(summary.outputs[0].name, "layer1.0.relu1");
  EXPECT_EQ(summary.outputs[1].shape, (Shape{-1, 8, 56, 56}));
  EXPECT_THROW(with_outputs(model, {"nothing"}), Error);
}

}  // namespace
}  // namespace ferry
