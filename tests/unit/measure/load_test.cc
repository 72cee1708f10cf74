// Load as pure functions of its records.
#include "ferry/load.h"

#include <gmock/gmock.h>

#include "ferry/error.h"

namespace ferry {
namespace {

// A session whose requests take `each` ms, the first beginning at `begin`.
std::vector<RequestSpan> session(double begin, double each, int count) {
  std::vector<RequestSpan> spans;
  for (int i = 0; i < count; ++i) spans.push_back({begin + i * each, begin + (i + 1) * each});
  return spans;
}

TEST(SteadyRate, CountsWhatEndsWhileAllAreBusy) {
  // Ends at 10, 20, ... 100 and at 14, 24, ... 64: from 14 to 64 there are 5 and 5.
  const LoadRate rate = steady_rate({session(0, 10, 10), session(4, 10, 6)});
  EXPECT_EQ(rate.requests, 10);
  EXPECT_DOUBLE_EQ(rate.seconds, 0.050);
  EXPECT_EQ(rate.latencies_ms.size(), 10u);
  EXPECT_DOUBLE_EQ(rate.latencies_ms[0], 10);
}

TEST(SteadyRate, OneSessionIsOneByOne) {
  const LoadRate rate = steady_rate({session(3, 2, 11)});
  EXPECT_EQ(rate.requests, 10);
  EXPECT_DOUBLE_EQ(rate.seconds, 0.020);
}

TEST(SteadyRate, WithoutACommonTimeThereIsNoRate) {
  EXPECT_EQ(steady_rate({}).requests, 0);
  EXPECT_EQ(steady_rate({session(0, 1, 5), {}}).requests, 0);
  EXPECT_EQ(steady_rate({session(0, 1, 5), session(100, 1, 5)}).requests, 0);
  EXPECT_EQ(steady_rate({session(0, 1, 1)}).requests, 0);
}

TEST(SummariseLoad, RateIsByTimeAndLatencyByRequest) {
  const LoadTurn two{session(0, 10, 11), session(5, 10, 11)};  // two at once, 10 ms each: one every 5 ms
  const Measurement m = summarise_load({two, two}, {4, 4.5, 5}, 8, {});
  EXPECT_EQ(m.sessions, 2);
  EXPECT_EQ(m.timed, "request under load");
  EXPECT_DOUBLE_EQ(m.wall.median, 10);
  EXPECT_NEAR(m.images_per_second, 8 / 0.005, 8 / 0.005 * 0.06);
  EXPECT_NEAR(m.share_of_device, m.images_per_second / (8000 / 4.5), 1e-12);
  EXPECT_EQ(m.round_medians_ms.size(), 2u);
  EXPECT_NEAR(m.round_medians_ms[0], 5, 0.3);
  EXPECT_FALSE(m.device);
}

TEST(SummariseLoad, NothingMeasuredIsAnError) {
  EXPECT_THROW(summarise_load({}, {}, 1, {}), Error);
  EXPECT_THROW(summarise_load({{session(0, 1, 1)}}, {}, 1, {}), Error);
}

TEST(SummariseLoad, WithoutDeviceTimesTheShareIsUnknown) {
  EXPECT_EQ(summarise_load({{session(0, 1, 30)}}, {}, 1, {}).share_of_device, 0);
}

TEST(OperatingPoints, TheFrontierIsWhatNothingBeats) {
  std::vector<OperatingPoint> points{{1, 1, 100, 1, 1},   {8, 1, 400, 2, 2},     {8, 2, 390, 4, 5},
                                     {32, 1, 1000, 8, 9}, {32, 2, 1010, 16, 18}, {64, 1, 0, 0, 0}};
  mark_frontier(points);
  std::vector<bool> frontier;
  for (const OperatingPoint& point : points) frontier.push_back(point.on_frontier);
  EXPECT_THAT(frontier, testing::ElementsAre(true, true, false, true, true, false));
  EXPECT_EQ(choose_point(points, std::nullopt), 3u) << "within 2 % of the highest rate, and sooner";
  EXPECT_EQ(choose_point(points, 4.0), 1u);
  EXPECT_EQ(choose_point(points, 100.0), 4u);
  EXPECT_THROW(choose_point(points, 0.5), Error);
  EXPECT_THROW(choose_point({}, std::nullopt), Error);
}

TEST(OperatingPoints, APointIsWhatATurnGave) {
  const OperatingPoint point = operating_point({session(0, 10, 11), session(5, 10, 11)}, 8);
  EXPECT_EQ(point.sessions, 2);
  EXPECT_DOUBLE_EQ(point.median_ms, 10);
  EXPECT_GT(point.images_per_second, 1400);
  EXPECT_EQ(operating_point({{}}, 8).images_per_second, 0);
}

TEST(SummariseLoad, WaitingForEachOtherIsNoInstability) {
  std::vector<RequestSpan> uneven;
  for (int i = 0; i < 60; ++i) uneven.push_back({i * 10.0, i * 10.0 + (i % 3 == 0 ? 9.9 : 3.0)});
  EXPECT_THAT(summarise_load({{uneven}, {uneven}}, {}, 1, {}).warnings, testing::IsEmpty());
}

}  // namespace
}  // namespace ferry
