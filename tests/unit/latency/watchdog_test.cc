#include "cuda/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

TEST(Watchdog, WaitsAsLongAsAsked) {
  EXPECT_EQ(watchdog_seconds(nullptr), kWatchdogSeconds);
  EXPECT_EQ(watchdog_seconds(""), kWatchdogSeconds);
  EXPECT_EQ(watchdog_seconds("600"), 600);
  EXPECT_EQ(watchdog_seconds("0.5"), 0.5);
  EXPECT_EQ(watchdog_cycles(2), 4'000'000'000);
  EXPECT_GT(watchdog_cycles(watchdog_seconds("1e6")), 0) << "no overflow";
}

TEST(Watchdog, WhatIsNoTimeIsRefusedByName) {
  for (const char* bad : {"0", "-1", "nan", "inf", "1e7", "2s", "long", " 2", "2 "}) try {
      watchdog_seconds(bad);
      ADD_FAILURE() << bad;
    } catch (const nvinfer::Failure& failure) {
      EXPECT_THAT(failure.cause, ::testing::HasSubstr(std::string("'") + bad + "'"));
      EXPECT_EQ(failure.subject, "FERRY_WATCHDOG");
    }
}

}  // namespace
}  // namespace ferry::latency
