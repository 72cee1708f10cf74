// Loading the driver: what a machine without one, or with an old one, is told.
#include "cuda_support/driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ferry::cuda {
namespace {

using ::testing::HasSubstr;

TEST(Driver, AMissingLibraryIsTheReason) {
  Driver driver;
  EXPECT_THAT(load_driver("/nonexistent/libcuda.so.1", driver), HasSubstr("no NVIDIA driver (/nonexistent/libcuda"));
}

TEST(Driver, AnOldLibraryIsNamedWithTheFunctionItLacks) {
  Driver driver;
  EXPECT_THAT(load_driver("libz.so.1", driver), HasSubstr("too old: libz.so.1 lacks cuInit"));
}

TEST(Driver, TheFakeHasEveryFunction) {
  Driver driver;
  EXPECT_EQ(load_driver(FERRY_FAKE_CUDA, driver), "");
}

}  // namespace
}  // namespace ferry::cuda
