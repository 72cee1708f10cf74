#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "ferry/error.h"
#include "ferry/image.h"

namespace ferry {
namespace {

TEST(Labels, AreTheThousandOfImageNet) {
  const auto& names = imagenet_classes();
  ASSERT_EQ(names.size(), 1000u);
  EXPECT_EQ(names[0], "tench");
  EXPECT_EQ(names[281], "tabby");
  EXPECT_EQ(names[463], "bucket");
  EXPECT_EQ(names[999], "toilet tissue");
}

TEST(TopK, OrdersByScoreThenByIndex) {
  const std::vector<float> row{1, 3, 2, 3, -1};
  std::vector<int> order;
  for (const ClassScore& s : top_k(row, 4, false)) order.push_back(s.index);
  EXPECT_THAT(order, testing::ElementsAre(1, 3, 2, 0));
  EXPECT_EQ(top_k(row, 99, false).size(), 5u);
  EXPECT_TRUE(top_k(row, 0, false).empty());
}

TEST(TopK, SoftmaxIsOverTheWholeRow) {
  const std::vector<float> row{1000, 1000 + std::log(3.0f)};
  const auto best = top_k(row, 1, true);
  EXPECT_EQ(best[0].index, 1);
  EXPECT_NEAR(best[0].score, 0.75, 1e-4);
}

TEST(TopK, RefusesNanInfinityAndNothing) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  EXPECT_THROW(top_k(std::vector<float>{1, nan, 2}, 1, false), Error);
  EXPECT_THROW(top_k(std::vector<float>{1, inf}, 1, true), Error);
  EXPECT_THROW(top_k({}, 1, false), Error);
}

}  // namespace
}  // namespace ferry
