#include "classify/form.h"

#include <gmock/gmock.h>

#include "ferry/error.h"

namespace ferry {
namespace {

EngineInfo info_with(const Port& input, const std::vector<Port>& outputs) {
  EngineInfo info;
  info.inputs = {input};
  info.outputs = outputs;
  info.backend_display_name = "Test";
  return info;
}
const Port kPlanes{"input", DType::kFloat32, {-1, 3, 224, 224}};
const Port kScores{"output", DType::kFloat32, {-1, 1000}};

TEST(Form, ReadsPlanesAndScores) {
  const EngineForm form = form_of(info_with(kPlanes, {kScores}));
  EXPECT_EQ(form.crop, 224);
  EXPECT_FALSE(form.channels_last);
  EXPECT_EQ(form.input_bytes, 3u * 224 * 224 * 4);
  EXPECT_EQ(form.classes, 1000);
  EXPECT_FALSE(form.top_k);
}

TEST(Form, ReadsBytesWithTheChannelsLast) {
  const EngineForm form = form_of(info_with({"image", DType::kUInt8, {-1, 160, 160, 3}}, {kScores}));
  EXPECT_EQ(form.input, DType::kUInt8);
  EXPECT_TRUE(form.channels_last);
  EXPECT_EQ(form.crop, 160);
  EXPECT_EQ(form.input_bytes, 3u * 160 * 160);
}

TEST(Form, FindsTheBestFewInEitherOrder) {
  const Port scores{"scores", DType::kFloat16, {-1, 5}}, classes{"classes", DType::kInt64, {-1, 5}};
  for (const bool swapped : {false, true}) {
    const EngineForm form =
        form_of(info_with(kPlanes, swapped ? std::vector{classes, scores} : std::vector{scores, classes}));
    EXPECT_TRUE(form.top_k);
    EXPECT_EQ(form.scores_output, swapped ? 1u : 0u);
    EXPECT_EQ(form.indices_output, swapped ? 0u : 1u);
    EXPECT_EQ(form.classes, 5);
  }
}

TEST(Form, RefusesWhatIsNoClassifier) {
  const std::vector<EngineInfo> wrong{
      info_with({"input", DType::kFloat32, {-1, 4, 224, 224}}, {kScores}),
      info_with({"input", DType::kFloat32, {-1, 3, 224, 160}}, {kScores}),
      info_with({"input", DType::kInt64, {-1, 3, 224, 224}}, {kScores}),
      info_with(kPlanes, {{"output", DType::kFloat32, {-1, 1000, 7, 7}}}),
      info_with(kPlanes, {{"output", DType::kInt64, {-1, 1000}}}),
      info_with(kPlanes, {kScores, {"classes", DType::kInt64, {-1, 5}}}),
      info_with(kPlanes, {}),
  };
  for (const EngineInfo& info : wrong) {
    try {
      form_of(info);
      ADD_FAILURE() << to_string(info.inputs[0].shape);
    } catch (const Error& error) {
      EXPECT_EQ(error.stage(), Stage::kOpen);
      EXPECT_THAT(error.cause(), testing::HasSubstr("no classifier of pictures"));
    }
  }
}

TEST(Form, ChoosesBatchesThatTheEngineTakes) {
  EngineInfo info = info_with(kPlanes, {kScores});
  EXPECT_EQ(batch_for(info, 7), 7);
  info.profiles = {{1, 1, 1}, {4, 8, 16}, {32, 64, 128}};
  EXPECT_EQ(batch_for(info, 1), 1);
  EXPECT_EQ(batch_for(info, 2), 4);
  EXPECT_EQ(batch_for(info, 9), 9);
  EXPECT_EQ(batch_for(info, 17), 32);
  EXPECT_THROW(batch_for(info, 129), Error);
  info.device.kind = "gpu";
  EXPECT_EQ(good_batch(info), 64);
  info.profiles = {{1, 8, 32}};
  EXPECT_EQ(good_batch(info), 32);
  info.profiles = {{2, 2, 2}};
  EXPECT_EQ(good_batch(info), 2);
  EXPECT_EQ(batch_for(info, 1), 2);
}

}  // namespace
}  // namespace ferry
