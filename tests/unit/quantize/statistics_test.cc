#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "ferry/calibrate.h"
#include "ferry/error.h"

namespace ferry {
namespace {

Tensor tensor_of(const Shape& shape, const std::vector<float>& values) {
  Tensor tensor(DType::kFloat32, shape);
  std::copy(values.begin(), values.end(), tensor.floats().begin());
  return tensor;
}

TensorStatistics statistics_of(const std::vector<float>& values) {
  TensorStatistics s;
  s.add(tensor_of({1, 1, static_cast<std::int64_t>(values.size())}, values).view(), "t");
  return s;
}

TEST(Statistics, CountsByChannel) {
  TensorStatistics s;
  s.add(tensor_of({2, 2, 2}, {1, -2, 0, 0, 3, 0, -0.5f, 4}).view(), "t");
  EXPECT_EQ(s.count, 8u);
  EXPECT_EQ(s.zeros, 3u);
  EXPECT_EQ(s.min, -2);
  EXPECT_EQ(s.max, 4);
  EXPECT_THAT(s.channel_max, testing::ElementsAre(3, 4));
  EXPECT_THAT(s.channel_mean, testing::ElementsAre(0.5, 0.875));
  EXPECT_THAT(s.channel_power, testing::ElementsAre((1 + 4 + 9) / 4.0, (0.25 + 16) / 4));
  std::uint64_t counted = 0;
  for (const auto bin : s.bins) counted += bin;
  EXPECT_EQ(counted, 5u);
  // The range is the power of two above 4: 8 over 4096 bins; 4 lies in the middle.
  EXPECT_EQ(s.bin_width, 8.0 / 4096);
  EXPECT_EQ(s.bins[2048], 1u);
}

TEST(Statistics, DoNotDependOnOrderOrGrouping) {
  const Tensor all = Tensor::random_normal({6, 3, 50}, 3);
  TensorStatistics once, pieces, backwards;
  once.add(all.view(), "t");
  const auto part = [&](std::int64_t n) { return TensorView{DType::kFloat32, {1, 3, 50}, all.data() + n * 150 * 4}; };
  for (int n = 0; n < 6; ++n) pieces.add(part(n), "t"), backwards.add(part(5 - n), "t");
  for (const TensorStatistics* other : {&pieces, &backwards}) {
    EXPECT_EQ(other->bins, once.bins);
    EXPECT_EQ(other->bin_width, once.bin_width);
    EXPECT_EQ(other->channel_max, once.channel_max);
    EXPECT_EQ(other->min, once.min);
  }
}

TEST(Statistics, TheRangeGrows) {
  TensorStatistics s = statistics_of({0.1f, 0.1f, 0.2f});
  s.add(tensor_of({1, 1, 1}, {1000}).view(), "t");
  EXPECT_EQ(s.bin_width, 1024.0 / 4096);
  EXPECT_EQ(s.bins[0], 3u);
  EXPECT_EQ(s.bins[4000], 1u);
}

TEST(Statistics, RefuseNanInfinityAndOtherChannels) {
  TensorStatistics s = statistics_of({1, 2});
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    try {
      s.add(tensor_of({1, 1, 9}, {0, 0, 0, 0, 0, 0, 0, 0, bad}).view(), "layer1.relu");
      FAIL() << "not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.stage(), Stage::kQuantize);
      EXPECT_EQ(error.subject(), "layer1.relu");
    }
  }
  EXPECT_EQ(s.count, 2u);
  EXPECT_THROW(s.add(tensor_of({1, 2, 1}, {1, 1}).view(), "t"), Error);
}

TEST(Range, OfZerosIsZero) {
  const TensorStatistics s = statistics_of({0, 0, 0});
  for (const auto method : {RangeMethod::kMax, RangeMethod::kPercentile, RangeMethod::kEntropy, RangeMethod::kMse})
    EXPECT_EQ(range_of(s, {method, 99.9}), 0) << name_of(method);
}

TEST(Range, OfAConstantIsTheConstant) {
  const TensorStatistics s = statistics_of(std::vector<float>(1000, -3.0f));
  EXPECT_EQ(range_of(s, {RangeMethod::kMax}), 3);
  EXPECT_EQ(range_of(s, {RangeMethod::kPercentile, 99.9}), 3);
  EXPECT_NEAR(range_of(s, {RangeMethod::kMse}), 3, 0.05);
  EXPECT_NEAR(range_of(s, {RangeMethod::kEntropy}), 3, 0.05);
}

// 100,000 values spread evenly over [0, 1) and a single outlier of 16.
TensorStatistics with_outlier() {
  std::vector<float> values(100'000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / static_cast<float>(values.size());
  values.push_back(16);
  return statistics_of(values);
}

TEST(Range, MethodsTreatAnOutlierAsTheySay) {
  const TensorStatistics s = with_outlier();
  EXPECT_EQ(range_of(s, {RangeMethod::kMax}), 16);
  EXPECT_NEAR(range_of(s, {RangeMethod::kPercentile, 99.99}), 1, s.bin_width * 1.01);
  EXPECT_NEAR(range_of(s, {RangeMethod::kPercentile, 50}), 0.5, s.bin_width * 1.01);
  // Clipping the outlier at r costs (16 - r)^2, rounding 1e5 values (r / 127)^2 / 12: least near r = 16 * 12 * 127^2 /
  // (12 * 127^2 + 1e5) = 10.5.
  EXPECT_NEAR(range_of(s, {RangeMethod::kMse}), 10.5, 1.0);
  EXPECT_LT(range_of(s, {RangeMethod::kEntropy}), 2);
}

TEST(Range, MseKeepsAnEvenDistributionWhole) {
  std::vector<float> values(10'000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1) / 10'000.0f;
  EXPECT_GT(range_of(statistics_of(values), {RangeMethod::kMse}), 0.98);
}

TEST(Range, MethodsAreNamed) {
  EXPECT_EQ(range_method_named("entropy"), RangeMethod::kEntropy);
  EXPECT_THROW(range_method_named("median"), Error);
}

}  // namespace
}  // namespace ferry
