// Crafted pairs: each way in which two outputs can differ must be found.
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "ferry/compare.h"
#include "ferry/error.h"

namespace ferry {
namespace {

using testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr Tolerance kLoose{1e9, 0};

Tensor tensor(const Shape& shape, const std::vector<float>& values) {
  Tensor t(DType::kFloat32, shape);
  EXPECT_EQ(t.floats().size(), values.size());
  std::memcpy(t.data(), values.data(), t.size_bytes());
  return t;
}
Tensor two_rows() { return tensor({2, 6}, {1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1}); }

Agreement compare(const Tensor& output, const Tensor& reference, const Tolerance& tolerance = tolerance_for("fp32")) {
  return compare_outputs(output.view(), reference.view(), tolerance);
}

TEST(CompareOutputs, EqualOutputsAgree) {
  const Agreement a = compare(two_rows(), two_rows());
  EXPECT_TRUE(a.ok) << a.failure;
  EXPECT_EQ(a.relative_error, 0);
  EXPECT_NEAR(a.cosine, 1, 1e-12);
  EXPECT_EQ(a.max_abs_error, 0);
  EXPECT_EQ(a.top1_agreement, 1);
  EXPECT_EQ(a.top5_overlap, 1);
  EXPECT_EQ(a.images, 2);
}

TEST(CompareOutputs, OneValueOffIsFoundAndMeasured) {
  Tensor output = two_rows();
  output.floats()[0] += 1;
  const Agreement a = compare(output, two_rows());
  EXPECT_FALSE(a.ok);
  EXPECT_THAT(a.failure, HasSubstr("relative error"));
  EXPECT_NEAR(a.relative_error, 1 / std::sqrt(182.0), 1e-12);
  EXPECT_EQ(a.max_abs_error, 1);
}

TEST(CompareOutputs, NaNAndInfFailFirstInEitherTensorWhateverTheTolerance) {
  for (const float bad : {kNaN, kInf, -kInf}) {
    Tensor poisoned = two_rows();
    poisoned.floats()[7] = bad;
    const Agreement in_output = compare(poisoned, two_rows(), kLoose), in_both = compare(poisoned, poisoned, kLoose);
    const Agreement in_reference = compare(two_rows(), poisoned, kLoose);
    EXPECT_FALSE(in_output.ok);
    EXPECT_FALSE(in_both.ok);
    EXPECT_FALSE(in_reference.ok);
    EXPECT_THAT(in_output.failure, HasSubstr("the output has"));
    EXPECT_THAT(in_output.failure, HasSubstr("at element 7"));
    EXPECT_THAT(in_reference.failure, HasSubstr("the reference has"));
    EXPECT_TRUE(std::isnan(in_output.relative_error));
  }
  Tensor other_shape = tensor({1, 1}, {kNaN});
  EXPECT_THAT(compare(other_shape, two_rows()).failure, HasSubstr("NaN"));  // before the shape
}

TEST(CompareOutputs, MinusZeroIsZero) {
  EXPECT_TRUE(compare(tensor({1, 2}, {-0.0f, 1}), tensor({1, 2}, {0.0f, 1})).ok);
  EXPECT_TRUE(compare(tensor({1, 2}, {-0.0f, -0.0f}), tensor({1, 2}, {0.0f, 0.0f})).ok);
}

TEST(CompareOutputs, ZerosAgainstAnythingElseDisagree) {
  EXPECT_FALSE(compare(Tensor::zeros(DType::kFloat32, {2, 6}), two_rows(), tolerance_for("int8")).ok);
  const Agreement a = compare(two_rows(), Tensor::zeros(DType::kFloat32, {2, 6}), kLoose);
  EXPECT_FALSE(a.ok);  // relative to nothing: infinite
  EXPECT_TRUE(std::isinf(a.relative_error));
}

TEST(CompareOutputs, WrongShapeCountTypeAndEmptinessFail) {
  const std::vector<float> values(12, 1.0f);
  EXPECT_THAT(compare(tensor({3, 4}, values), two_rows(), kLoose).failure, HasSubstr("shape 3x4"));
  EXPECT_THAT(compare(tensor({2, 6, 1}, values), two_rows(), kLoose).failure, HasSubstr("shape"));
  EXPECT_THAT(compare(tensor({1, 6}, {1, 2, 3, 4, 5, 6}), two_rows(), kLoose).failure, HasSubstr("shape 1x6"));
  const Tensor half = convert(two_rows().view(), DType::kFloat16);
  EXPECT_THAT(compare(half, two_rows(), kLoose).failure, HasSubstr("type float16"));
  EXPECT_THAT(compare(Tensor::zeros(DType::kInt32, {2, 6}), two_rows(), kLoose).failure, HasSubstr("int32"));
  const Tensor empty(DType::kFloat32, {0, 6});
  EXPECT_THAT(compare(empty, empty, kLoose).failure, HasSubstr("empty"));
  EXPECT_FALSE(compare(empty, empty, kLoose).ok);
}

TEST(CompareOutputs, SwappedRowsAndSwappedColumnsAreFound) {
  const Tensor swapped = tensor({2, 6}, {6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6});
  const Agreement rows = compare(swapped, two_rows(), kLoose);
  EXPECT_EQ(rows.top1_agreement, 0);
  EXPECT_LT(rows.cosine, 0.7);
  EXPECT_FALSE(compare(swapped, two_rows(), tolerance_for("int8")).ok);
  EXPECT_FALSE(compare(swapped, two_rows(), {1e9, 0.99}).ok);  // same values, other order
}

TEST(CompareOutputs, CosineIsThatOfTheWorstRow) {
  const Agreement a = compare(tensor({2, 2}, {1000, 0, 0, 1}), tensor({2, 2}, {1000, 0, 1, 0}), kLoose);
  EXPECT_NEAR(a.cosine, 0, 1e-12);
  EXPECT_EQ(a.top1_agreement, 0.5);
}

TEST(CompareOutputs, TopFiveCountsTheReferencesBest) {
  const Tensor reference = tensor({1, 7}, {7, 6, 5, 4, 3, 2, 1}), output = tensor({1, 7}, {7, 6, 5, 1, 2, 3, 4});
  EXPECT_NEAR(compare(output, reference, kLoose).top5_overlap, 3.0 / 5, 1e-12);  // output's best: 0 1 2 6 5
  const Tensor few = tensor({1, 3}, {3, 2, 1});
  EXPECT_EQ(compare(few, few).top5_overlap, 1);  // fewer classes than five
}

TEST(CompareOutputs, TopOneIsJudgedWhenAskedAndNotLostToRounding) {
  Tensor reference(DType::kFloat32, {3, 2});
  for (float& v : reference.floats()) v = 1;
  Tensor output = reference.clone();
  EXPECT_TRUE(compare_outputs(output.view(), reference.view(), {1, 1.0}).ok);  // 3 * (1/3) must count as 1
  output.floats()[1] = 1.5f;
  EXPECT_THAT(compare_outputs(output.view(), reference.view(), {1, 1.0}).failure, HasSubstr("top-1"));
}

TEST(CompareOutputs, ANaNToleranceAcceptsNothing) { EXPECT_FALSE(compare(two_rows(), two_rows(), {kNaN, 0}).ok); }

TEST(CompareOutputs, HalfOutputsAreComparedWithHalfReferences) {
  const Tensor half = convert(two_rows().view(), DType::kFloat16);
  EXPECT_TRUE(compare(half, half).ok);
}

TEST(ToleranceFor, KnowsThePrecisionsAndRefusesOthers) {
  EXPECT_EQ(tolerance_for("fp32").relative_error, 2e-4);
  EXPECT_EQ(tolerance_for("fp16").relative_error, 1e-2);
  EXPECT_EQ(tolerance_for("int8").relative_error, 1.5e-1);
  EXPECT_THROW(tolerance_for("fp8"), Error);
}

}  // namespace
}  // namespace ferry
