// Points this program at the fake driver before anything asks for the real one.
#include "fake_driver.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace {

const bool pointed_at_fake = [] {
  setenv("FERRY_CUDA_DRIVER", FERRY_FAKE_CUDA, 1);
  setenv("FERRY_NVML", FERRY_FAKE_CUDA, 1);
  return true;
}();

TEST(FakeDriver, Loads) {
  ASSERT_TRUE(pointed_at_fake);
  EXPECT_EQ(ferry::testing::FakeDriver::get().live(), 0);
}

}  // namespace
