#include "quantize/rounding.h"

#include <gmock/gmock.h>

#include <cmath>

#include "ferry/error.h"

namespace ferry {
namespace {

TEST(PictureMomentsTest, AreSumsOfProductsOfNeighbours) {
  // Two channels of 2x3: c0 = 1 2 3 / 4 5 6, c1 = 0 0 0 / 0 10 0.
  Tensor picture(DType::kFloat32, {1, 2, 2, 3});
  const float values[] = {1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 10, 0};
  std::copy(std::begin(values), std::end(values), picture.floats().begin());
  PictureMoments moments;
  EXPECT_TRUE(moments.empty());
  EXPECT_EQ(moments.at(0, 0, 0, 0), 0);
  moments.add(picture.view(), 3);
  EXPECT_EQ(moments.places, 6u);
  EXPECT_DOUBLE_EQ(moments.at(0, 0, 0, 0), (1 + 4 + 9 + 16 + 25 + 36) / 6.0);
  EXPECT_DOUBLE_EQ(moments.at(0, 0, 0, 1), (1 * 2 + 2 * 3 + 4 * 5 + 5 * 6) / 6.0);
  EXPECT_DOUBLE_EQ(moments.at(0, 0, 1, 0), (1 * 4 + 2 * 5 + 3 * 6) / 6.0);
  EXPECT_DOUBLE_EQ(moments.at(0, 0, 1, -1), (2 * 4 + 3 * 5) / 6.0);
  EXPECT_DOUBLE_EQ(moments.at(0, 1, 1, 1), 1 * 10 / 6.0);
  EXPECT_DOUBLE_EQ(moments.at(1, 0, -1, -1), 1 * 10 / 6.0);
  EXPECT_DOUBLE_EQ(moments.at(1, 0, 0, 1), 10 * 6 / 6.0);
  EXPECT_EQ(moments.at(0, 0, 0, 7), 0);
  EXPECT_THROW(moments.add(Tensor::zeros(DType::kFloat32, {1, 3, 2, 2}).view(), 1), Error);
}

TEST(PictureMomentsTest, DoNotDependOnThreadsOrBatches) {
  const Tensor two = Tensor::random_normal({2, 3, 9, 11}, 4);
  const std::size_t half = 3 * 9 * 11;
  PictureMoments together, apart;
  together.add(two.view(), 1);
  for (const std::size_t i : {std::size_t{0}, half})
    apart.add({DType::kFloat32, {1, 3, 9, 11}, reinterpret_cast<const std::byte*>(two.floats().data() + i)}, 4);
  EXPECT_EQ(together.sums, apart.sums);
  EXPECT_EQ(together.places, apart.places);
}

TEST(WindowMoments, FollowTheDilation) {
  const Tensor pictures = Tensor::random_normal({1, 2, 8, 8}, 5);
  PictureMoments picture;
  picture.add(pictures.view(), 1);
  const std::vector<double> moments = window_moments(picture, 2, 2, 3, 1);
  ASSERT_EQ(moments.size(), 64u);
  EXPECT_EQ(moments[0 * 8 + 2], picture.at(0, 0, 3, 0));   // (0, 0) and (1, 0) of channel 0
  EXPECT_EQ(moments[1 * 8 + 6], picture.at(0, 1, 3, -1));  // (0, 1) of channel 0, (1, 0) of channel 1
  EXPECT_EQ(moments[6 * 8 + 1], moments[1 * 8 + 6]);
}

std::vector<double> identity(std::size_t n) {
  std::vector<double> m(n * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) m[i * n + i] = 1;
  return m;
}

TEST(JointRoundingTest, RoundsToTheNearestWherePixelsHaveNothingToDoWithEachOther) {
  const std::vector<float> weights{0.26f, -0.74f, 0.1f, 9.0f};
  EXPECT_THAT(JointRounding(identity(4)).round(weights.data(), 0.5f, 7), testing::ElementsAre(1, -1, 0, 7));
}

TEST(JointRoundingTest, LetsErrorsCancelWherePixelsAgree) {
  // Four pixels that are nearly the same number: what counts is the sum of the weights.
  std::vector<double> moments(16, 1.0);
  for (std::size_t i = 0; i < 4; ++i) moments[i * 5] = 1.001;
  const std::vector<float> weights{0.4f, 0.4f, 0.4f, 0.4f};
  const std::vector<std::int8_t> rounded = JointRounding(moments).round(weights.data(), 1, 63);
  int sum = 0;
  for (const std::int8_t q : rounded) sum += q;
  EXPECT_EQ(sum, 2);  // 1.6; each to the nearest gives 0
}

TEST(JointRoundingTest, IsNearTheBestOfAllRoundings) {
  const std::size_t n = 6;
  const Tensor noise = Tensor::random_normal({8, static_cast<std::int64_t>(n)}, 11);
  std::vector<double> moments(n * n, 0.0);
  for (std::size_t k = 0; k < 8; ++k)
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        moments[i * n + j] += (2 + noise.floats()[k * n + i]) * (2 + noise.floats()[k * n + j]);
  const JointRounding joint(moments);
  ASSERT_TRUE(joint.usable());
  double nearest = 0, together = 0, best = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Tensor weights = Tensor::random_normal({static_cast<std::int64_t>(n)}, seed);
    const std::span<const float> w = weights.floats();
    const auto power = [&](const auto& q) {
      std::vector<double> error(n);
      for (std::size_t i = 0; i < n; ++i) error[i] = q(i) * 0.25 - static_cast<double>(w[i]);
      return joint.power(error);
    };
    const auto rounded = joint.round(w.data(), 0.25f, 100);
    together += power([&](std::size_t i) { return static_cast<double>(rounded[i]); });
    nearest += power([&](std::size_t i) { return std::nearbyint(static_cast<double>(w[i]) / 0.25); });
    double least = HUGE_VAL;
    for (int way = 0; way < 4096; ++way)  // each weight one of the four multiples around it
      least = std::min(least, power([&](std::size_t i) {
                         return std::floor(static_cast<double>(w[i]) / 0.25) + (way >> (2 * i) & 3) - 1;
                       }));
    best += least;
  }
  EXPECT_LT(together, 0.5 * nearest);
  EXPECT_LT(together, 2 * best);
  EXPECT_GE(together, best);
}

TEST(JointRoundingTest, NeedsSomethingToGoBy) {
  EXPECT_FALSE(JointRounding(std::vector<double>(9, 0.0)).usable());
  EXPECT_FALSE(JointRounding(std::vector<double>(9, std::nan(""))).usable());
  EXPECT_TRUE(JointRounding(std::vector<double>(9, 1.0)).usable());  // pictures of one colour
}

}  // namespace
}  // namespace ferry
