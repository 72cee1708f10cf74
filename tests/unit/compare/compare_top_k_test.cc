#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "ferry/compare.h"

namespace ferry {
namespace {

using testing::HasSubstr;

// Scores of two images and four classes; softmax of the first: 0.6439 0.2369 0.0871 0.0321.
const std::vector<float> kScores{3, 2, 1, 0, 0, 5, 0.5f, 1};

struct Best {
  std::vector<float> p{0.6439143f, 0.2368828f, 0.9650995f, 0.0176764f};
  std::vector<std::int32_t> c{0, 1, 1, 3};
  TopKView view(int of = 4) const {
    return {{DType::kFloat32, {2, 2}, reinterpret_cast<const std::byte*>(p.data())},
            {DType::kInt32, {2, 2}, reinterpret_cast<const std::byte*>(c.data())},
            of};
  }
};

TensorView scores() { return {DType::kFloat32, {2, 4}, reinterpret_cast<const std::byte*>(kScores.data())}; }

TEST(CompareTopK, AgreesWithTheSoftmaxOfTheScores) {
  const Agreement agreement = compare_top_k(Best().view(), scores(), Tolerance{1e-4, 1});
  EXPECT_TRUE(agreement.ok) << agreement.failure;
  EXPECT_LE(agreement.relative_error, 1e-5);
  EXPECT_EQ(agreement.top1_agreement, 1);
  EXPECT_EQ(agreement.top5_overlap, 1);
  EXPECT_EQ(agreement.images, 2);
  EXPECT_NEAR(agreement.cosine, 1, 1e-9);
}

TEST(CompareTopK, AgreesWithAnotherTopK) {
  EXPECT_TRUE(compare_top_k(Best().view(), Best().view(), Tolerance{0, 1}).ok);
}

TEST(CompareTopK, AWrongClassFailsHoweverLikely) {
  Best best;
  best.c = {3, 1, 1, 3};
  const Agreement agreement = compare_top_k(best.view(), scores(), Tolerance{1e-2, 0});
  EXPECT_FALSE(agreement.ok);
  EXPECT_THAT(agreement.failure, HasSubstr("class 3 at place 1 of image 0"));
  EXPECT_FALSE(compare_top_k(best.view(), Best().view(), Tolerance{1e-2, 0}).ok);
}

TEST(CompareTopK, ATieWithinTheToleranceMayTurn) {
  std::vector<float> near{1, 1.0005f, -3, -3};
  const TensorView reference{DType::kFloat32, {1, 4}, reinterpret_cast<const std::byte*>(near.data())};
  const std::vector<float> p{0.4956f, 0.4953f};
  const std::vector<std::int32_t> c{0, 1};
  const TopKView turned{{DType::kFloat32, {1, 2}, reinterpret_cast<const std::byte*>(p.data())},
                        {DType::kInt32, {1, 2}, reinterpret_cast<const std::byte*>(c.data())},
                        4};
  const Agreement agreement = compare_top_k(turned, reference, tolerance_for("fp16"));
  EXPECT_EQ(agreement.top1_agreement, 0);
  EXPECT_TRUE(agreement.ok) << agreement.failure;
}

TEST(CompareTopK, AWrongProbabilityFails) {
  Best best;
  best.p[0] = 0.3f;
  EXPECT_THAT(compare_top_k(best.view(), scores(), Tolerance{1e-2, 0}).failure, HasSubstr("relative error"));
}

TEST(CompareTopK, WhatIsNoTopKFailsInWords) {
  const auto failure = [](const Best& best) { return compare_top_k(best.view(), scores(), Tolerance{1, 0}).failure; };
  Best best;
  best.p[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(failure(best), HasSubstr("nan for a probability"));
  best = {};
  best.c[1] = 0;
  EXPECT_THAT(failure(best), HasSubstr("twice"));
  best = {};
  best.c[0] = -1;
  EXPECT_THAT(failure(best), HasSubstr("out of range"));
  best = {};
  std::swap(best.p[0], best.p[1]);
  EXPECT_THAT(failure(best), HasSubstr("not in order"));
  TopKView view = Best().view();
  view.classes.shape = {4, 1};
  EXPECT_FALSE(compare_top_k(view, scores(), Tolerance{1, 0}).ok);
  std::vector<float> nan = kScores;
  nan[3] = std::numeric_limits<float>::quiet_NaN();
  const TensorView bad{DType::kFloat32, {2, 4}, reinterpret_cast<const std::byte*>(nan.data())};
  EXPECT_THAT(compare_top_k(Best().view(), bad, Tolerance{1, 0}).failure, HasSubstr("NaN"));
}

TEST(CompareTopK, ACertainAnswerIsNotJudgedByALogarithmNearZero) {
  const std::vector<float> sure{40, 0, 0, 0};
  const TensorView reference{DType::kFloat32, {1, 4}, reinterpret_cast<const std::byte*>(sure.data())};
  const float p = 0.99999f;
  const std::int32_t c = 0;
  const TopKView output{{DType::kFloat32, {1, 1}, reinterpret_cast<const std::byte*>(&p)},
                        {DType::kInt32, {1, 1}, reinterpret_cast<const std::byte*>(&c)},
                        4};
  EXPECT_TRUE(compare_top_k(output, reference, tolerance_for("fp32")).ok);
}

}  // namespace
}  // namespace ferry
