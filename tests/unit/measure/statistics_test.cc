#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ferry/error.h"
#include "ferry/measure.h"

namespace ferry {
namespace {

TEST(Statistics, InterpolatesLikeNumPy) {  // numpy.percentile([4, 1, 3, 2, 10], [50, 90, 99])
  const Statistics s = statistics({4, 1, 3, 2, 10});
  EXPECT_EQ(s.count, 5u);
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.max, 10);
  EXPECT_EQ(s.median, 3);
  EXPECT_EQ(s.mean, 4);
  EXPECT_NEAR(s.p90, 7.6, 1e-12);
  EXPECT_NEAR(s.p99, 9.76, 1e-12);
  EXPECT_NEAR(s.stddev, std::sqrt(10.0), 1e-12);
}

TEST(Statistics, OfOneRunIsThatRun) {
  const Statistics s = statistics({2.5});
  EXPECT_EQ(s.median, 2.5);
  EXPECT_EQ(s.p99, 2.5);
  EXPECT_EQ(s.stddev, 0);
}

TEST(Statistics, MedianOfAnEvenCountIsBetweenTheMiddleTwo) { EXPECT_EQ(statistics({1, 2, 3, 10}).median, 2.5); }

TEST(Statistics, RefusesAnEmptySampleNaNAndInf) {
  EXPECT_THROW(statistics({}), Error);
  EXPECT_THROW(statistics({1, std::numeric_limits<double>::quiet_NaN()}), Error);
  EXPECT_THROW(statistics({1, std::numeric_limits<double>::infinity()}), Error);
}

}  // namespace
}  // namespace ferry
