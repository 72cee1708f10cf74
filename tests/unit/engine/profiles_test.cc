#include <gtest/gtest.h>

#include "ferry/engine_file.h"
#include "ferry/error.h"

namespace ferry {
namespace {

TEST(Profiles, AreReadAndWritten) {
  EXPECT_EQ(parse_profiles("8"), (std::vector<BatchProfile>{{8, 8, 8}}));
  EXPECT_EQ(parse_profiles("1:8:64"), (std::vector<BatchProfile>{{1, 8, 64}}));
  EXPECT_EQ(parse_profiles("1,8:16:32"), (std::vector<BatchProfile>{{1, 1, 1}, {8, 16, 32}}));
  EXPECT_EQ(to_string(BatchProfile{1, 8, 64}), "1:8:64");
  EXPECT_EQ(to_string(BatchProfile{8, 8, 8}), "8");
}

TEST(Profiles, WhatMeansNothingIsAUsageError) {
  for (const char* text : {"", "0", "-1", "1:2", "8:4:16", "1:8:4", "a", "1;2", "1,", ",1", "1:8:64:", " 1", "1 ",
                           "99999999999999999999", "65537", "1.5"}) {
    try {
      parse_profiles(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.stage(), Stage::kUsage) << text;
    }
  }
}

TEST(Profiles, TheDefaultFollowsTheMemoryOfTheGpu) {
  Device gpu{"gpu", "G", "8.9", "", "", std::int64_t{8} << 30, 0};
  EXPECT_EQ(default_profiles(std::nullopt)[0].max, 32);
  EXPECT_EQ(default_profiles(Device{})[0].max, 32);
  EXPECT_EQ(default_profiles(gpu)[0].max, 64);
  gpu.memory_bytes = std::int64_t{80} << 30;
  EXPECT_EQ(default_profiles(gpu)[0].max, 128);
  gpu.memory_bytes = std::int64_t{4} << 30;
  EXPECT_EQ(default_profiles(gpu)[0].max, 32);
}

}  // namespace
}  // namespace ferry
