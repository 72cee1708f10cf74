// Load as pure functions of its records.
#include "ferry/load.h"

#include <gmock/gmock.h>

#include <cmath>

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
  const Measurement m = summarise_load({{two, two}, {}}, {}, 8);
  EXPECT_EQ(m.sessions, 2);
  EXPECT_EQ(m.timed, "request under load");
  EXPECT_DOUBLE_EQ(m.wall.median, 10);
  EXPECT_NEAR(m.images_per_second, 8 / 0.005, 8 / 0.005 * 0.06);
  EXPECT_EQ(m.round_medians_ms.size(), 2u);
  EXPECT_NEAR(m.round_medians_ms[0], 5, 0.3);
  EXPECT_FALSE(m.device);
}

TEST(SummariseLoad, NothingMeasuredIsAnError) {
  EXPECT_THROW(summarise_load({}, {}, 1), Error);
  EXPECT_THROW(summarise_load({{{session(0, 1, 1)}}, {}}, {}, 1), Error);
}

TEST(AgainstDevice, WithoutResidentBlocksTheShareIsUnknown) {
  const Measurement m = summarise_load({{{session(0, 1, 30)}}, {}}, {}, 1);
  EXPECT_EQ(m.share_of_device, 0);
  EXPECT_FALSE(m.against_device);
}

// Two sessions whose requests take `each` ms.
LoadTurn pair_of(double each) { return {session(0, each, 21), session(0, each, 21)}; }

TEST(AgainstDevice, OnlyNeighboursAreCompared) {
  LoadBlocks load, device;
  for (const double slower : {1.0, 1.5, 2.0, 2.5, 3.0}) {  // the card throttles more and more
    load.turns.push_back(pair_of(10 * slower));
    device.turns.push_back(pair_of(9.7 * slower));
  }
  load.turns[1] = pair_of(30);  // one round is disturbed
  const Measurement m = summarise_load(load, device, 8);
  ASSERT_TRUE(m.against_device);
  constexpr double as = 1e-6;
  EXPECT_NEAR(m.share_of_device, 0.97, as);
  EXPECT_THAT(m.against_device->ratios,
              testing::Pointwise(testing::DoubleNear(as), {0.97, 9.7 * 1.5 / 30, 0.97, 0.97, 0.97}));
  EXPECT_NEAR(m.against_device->device.images_per_second, 16000 / (9.7 * 2), as);
  EXPECT_NEAR(m.against_device->load.images_per_second, 16000 / 25.0, as) << "the median of the rounds";
  EXPECT_NEAR(m.against_device->load.block_seconds, 0.5, as);
}

TEST(AgainstDevice, ARoundWithoutARateIsLeftOut) {
  const LoadBlocks load{{pair_of(10), pair_of(20)}, {}};
  const Measurement m = summarise_load(load, {{{session(0, 1, 1)}, pair_of(10)}, {}}, 1);
  ASSERT_TRUE(m.against_device);
  EXPECT_THAT(m.against_device->ratios, testing::ElementsAre(testing::DoubleNear(0.5, 1e-9)));
  EXPECT_FALSE(summarise_load(load, {{{session(0, 1, 1)}}, {}}, 1).against_device);
}

TEST(AgainstDevice, OneSessionAloneLeavesGapsThatAreNotTheDevices) {
  std::vector<RequestSpan> spans = session(0, 10, 20);
  for (RequestSpan& span : spans) span.compute_ms = 8;
  EXPECT_DOUBLE_EQ(device_rate({spans}).seconds, 0.16);
  EXPECT_EQ(device_rate({spans}).requests, 20);
  EXPECT_DOUBLE_EQ(device_rate({spans, spans}).seconds, steady_rate({spans, spans}).seconds)
      << "of several sessions the times contain each other's work";
  spans[3].compute_ms = std::nan("");
  EXPECT_DOUBLE_EQ(device_rate({spans}).seconds, 0.19) << "an engine that does not tell: by the clock";
}

TEST(AgainstDevice, EachHalfHasItsOwnClocks) {
  const double nan = std::nan("");
  const LoadBlocks load{
      {pair_of(10)},
      {{1500, nan, nan, 690, nan, nan, 4}, {1440, nan, nan, 700, nan, nan, 0}, {1600, nan, nan, nan, nan, nan, 0}}};
  const LoadBlocks device{{pair_of(9)}, {{1700, nan, nan, nan, nan, nan, 0}, {nan, nan, nan, nan, nan, nan, 1}}};
  const Measurement m = summarise_load(load, device, 8);
  ASSERT_TRUE(m.against_device);
  EXPECT_EQ(m.against_device->load.sm_clock_min_mhz, 1440);
  EXPECT_EQ(m.against_device->load.sm_clock_median_mhz, 1500);
  EXPECT_EQ(m.against_device->load.power_median_w, 695);
  EXPECT_EQ(m.against_device->load.throttle_reasons, 4u);
  EXPECT_EQ(m.against_device->device.sm_clock_min_mhz, 1700);
  EXPECT_TRUE(std::isnan(m.against_device->device.power_median_w));
  EXPECT_THAT(throttle_names(m.against_device->device.throttle_reasons), testing::IsEmpty()) << "idle is no limit";
  EXPECT_EQ(m.telemetry.size(), 3u);
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
  EXPECT_THAT(summarise_load({{{uneven}, {uneven}}, {}}, {}, 1).warnings, testing::IsEmpty());
}

}  // namespace
}  // namespace ferry
