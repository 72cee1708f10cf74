#include "ferry/evaluate.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "ferry/error.h"
#include "unit/image/fixtures.h"

namespace ferry {
namespace {

using testing::HasSubstr;

TEST(Wilson, GivesThePublishedValues) {
  // Newcombe 1998, table I: 81 of 263 and 0 of 20, 95 %.
  Interval interval = wilson_interval(81, 263);
  EXPECT_NEAR(interval.low, 0.2553, 5e-5);
  EXPECT_NEAR(interval.high, 0.3662, 5e-5);
  interval = wilson_interval(0, 20);
  EXPECT_EQ(interval.low, 0);
  EXPECT_NEAR(interval.high, 0.1611, 5e-5);
  EXPECT_EQ(wilson_interval(0, 0).high, 1);
}

TEST(Scorer, CountsRanksTiesAndDivergence) {
  Scorer scorer("x", true, true);
  const std::vector<float> even{1, 1, 0, 0, 0, 0, 0}, other{0, 1, 0, 0, 0, 0, 0};
  EXPECT_TRUE(scorer.add(even, 0, even, "a"));   // top-1: ties by lower number
  EXPECT_TRUE(scorer.add(even, 1, other, "b"));  // second, so top-5 only; best class 0 against 1
  EXPECT_TRUE(scorer.add(even, 5, even, "c"));   // sixth
  const EvaluationRow row = scorer.row();
  EXPECT_EQ(row.images, 3);
  EXPECT_EQ(row.top1->hits, 1);
  EXPECT_EQ(row.top5->hits, 2);
  EXPECT_EQ(row.agreement->hits, 2);
  const double p1 = std::exp(1.0) / (std::exp(1.0) + 6), p0 = 1 / (std::exp(1.0) + 6);
  const double q1 = std::exp(1.0) / (2 * std::exp(1.0) + 5), q0 = 1 / (2 * std::exp(1.0) + 5);
  const double kl = p0 * std::log(p0 / q1) + p1 * std::log(p1 / q1) + 5 * p0 * std::log(p0 / q0);
  EXPECT_NEAR(*row.kl, kl / 3, 1e-6);
  EXPECT_NEAR(*row.relative_error, std::sqrt(1.0 / 5), 1e-9);
}

TEST(Scorer, FailsOnNanAndInfinity) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Scorer scorer("x", true, false);
    EXPECT_TRUE(scorer.add(std::vector<float>{1, 0}, 0, {}, "a.jpg"));
    EXPECT_FALSE(scorer.add(std::vector<float>{0, bad}, 0, {}, "b.jpg"));
    EXPECT_FALSE(scorer.add(std::vector<float>{1, 0}, 0, {}, "c.jpg"));
    EXPECT_EQ(scorer.row().images, 1);
    EXPECT_THAT(scorer.row().failure, HasSubstr("b.jpg"));
  }
}

// Logits are made from the picture itself: the mean of its red plane decides.
Tensor logits_of(const TensorView& batch, float shift) {
  Tensor output(DType::kFloat32, {batch.shape[0], 3});
  const auto* data = reinterpret_cast<const float*>(batch.data);
  const std::int64_t image = batch.shape[1] * batch.shape[2] * batch.shape[3];
  for (std::int64_t n = 0; n < batch.shape[0]; ++n) {
    output.floats()[3 * n] = data[n * image];
    output.floats()[3 * n + 1] = 0.25f + shift;
    output.floats()[3 * n + 2] = -10;
  }
  return output;
}

class Evaluate : public testing::Test {
 protected:
  Evaluate() {
    options.loader.preprocessing.resize = 20;
    options.loader.preprocessing.crop = 16;
    options.loader.batch = 3;
    options.loader.threads = 2;
    images.layout = "label file";
    images.labelled = true;
    for (const char* name : {"baseline.jpg", "tall.png", "missing.jpg", "grey.jpg", "small.png"})
      images.items.push_back({fixture(name), 1});
  }
  static EvaluationEntry entry(const std::string& name, float shift) {
    return {name, [shift](const TensorView& batch) { return logits_of(batch, shift); }};
  }

  EvaluateOptions options;
  ImageSet images;
};

TEST_F(Evaluate, ScoresEveryEntryAgainstLabelsAndReference) {
  options.reference = 0;
  std::vector<std::int64_t> steps;
  options.progress = [&](const std::string&, std::int64_t done, std::int64_t total) {
    EXPECT_EQ(total, 5);
    steps.push_back(done);
    return true;
  };
  const Evaluation result = evaluate({entry("ref", 0), entry("same", 0), entry("always 1", 100)}, images, options);
  EXPECT_EQ(result.images, 4);
  ASSERT_EQ(result.broken.size(), 1u);
  EXPECT_THAT(result.broken[0].path, HasSubstr("missing.jpg"));
  EXPECT_FALSE(result.rows[0].agreement);
  EXPECT_EQ(result.rows[1].agreement->hits, 4);
  EXPECT_EQ(*result.rows[1].relative_error, 0);
  EXPECT_EQ(result.rows[1].top1->hits, result.rows[0].top1->hits);
  EXPECT_EQ(result.rows[2].top1->hits, 4);
  EXPECT_EQ(result.rows[2].agreement->hits, result.rows[0].top1->hits);
  EXPECT_THAT(steps, testing::ElementsAre(0, 2, 5));
}

TEST_F(Evaluate, AnEngineThatFailsIsLeftOutAndSaysWhy) {
  const EvaluationEntry broken{"broken", [](const TensorView&) -> Tensor { throw Error(Stage::kRun, "gpu", "gone"); }};
  const EvaluationEntry nan{"nan", [](const TensorView& batch) {
                              Tensor output = logits_of(batch, 0);
                              output.floats()[0] = std::nanf("");
                              return output;
                            }};
  const Evaluation result = evaluate({entry("good", 0), broken, nan}, images, options);
  EXPECT_EQ(result.rows[0].images, 4);
  EXPECT_THAT(result.rows[1].failure, HasSubstr("gone"));
  EXPECT_THAT(result.rows[2].failure, HasSubstr("NaN"));
  EXPECT_THAT(to_table(result), HasSubstr("failed after 0 images"));
}

TEST_F(Evaluate, RefusesAFailingReferenceWrongLabelsAndNoPictures) {
  options.reference = 0;
  const EvaluationEntry broken{"broken", [](const TensorView&) -> Tensor { throw Error(Stage::kRun, "gpu", "gone"); }};
  EXPECT_THROW(evaluate({broken, entry("good", 0)}, images, options), Error);
  options.reference.reset();
  images.items[1].label = 3;
  EXPECT_THROW(evaluate({entry("good", 0)}, images, options), Error);
  images.items.resize(3);
  images.items.erase(images.items.begin(), images.items.begin() + 2);
  EXPECT_THROW(evaluate({entry("good", 0)}, images, options), Error);
}

TEST_F(Evaluate, StopsWhenTheProgressSaysSo) {
  options.progress = [](const std::string&, std::int64_t done, std::int64_t) { return done == 0; };
  try {
    evaluate({entry("good", 0)}, images, options);
    FAIL() << "not stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.stage(), Stage::kInterrupted);
  }
}

TEST_F(Evaluate, WritesJsonAndATable) {
  options.reference = 0;
  const Evaluation result = evaluate({entry("ref", 0), entry("other", 0.5)}, images, options);
  const auto json = nlohmann::json::parse(to_json(result));
  EXPECT_EQ(json["results"].size(), 2u);
  EXPECT_TRUE(json["results"][0]["kl"].is_null());
  EXPECT_EQ(json["results"][1]["top1"]["images"], 4);
  EXPECT_EQ(json["broken"].size(), 1u);
  std::istringstream table(to_table(result));
  for (std::string line; std::getline(table, line);) EXPECT_LE(line.size(), 100u) << line;
}

}  // namespace
}  // namespace ferry
