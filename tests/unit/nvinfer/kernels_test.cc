// Embedded kernels, and their loading and launching over the fake driver.
#include "cuda_support/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "cuda_support/context.h"
#include "cuda_support/error.h"
#include "cuda_support/graph.h"
#include "cuda_support/stream.h"
#include "fake_driver.h"

namespace ferry::cuda {
KernelImage kernels_probe();
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class KernelsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fake.reset();
    live_before_ = fake.live();
    context_.emplace(0);
    current_.emplace(*context_);
  }
  void TearDown() override {
    fake.kernel("probe", nullptr, nullptr);
    current_.reset();
    context_.reset();
    EXPECT_EQ(fake.live(), live_before_) << "a module leaked";
  }

  const ferry::testing::FakeDriver& fake = ferry::testing::FakeDriver::get();
  const KernelImage image_{"any bytes: the fake driver does not read them", 4};

 private:
  std::optional<Context> context_;
  std::optional<Current> current_;
  int live_before_ = 0;
};

TEST(EmbeddedKernels, AreAWholeFatBinaryOrNothing) {
  const KernelImage image = kernels_probe();
  EXPECT_EQ(image.compiled(), FERRY_HAS_NVCC != 0);
  if (!image.compiled()) GTEST_SKIP() << kNoKernels;
  struct Header {  // of a fat binary: the size behind it makes up the rest
    std::uint32_t magic;
    std::uint16_t version, header_size;
    std::uint64_t size;
  } header{};
  ASSERT_GT(image.size, sizeof header);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(image.data) % 8, 0u);
  std::memcpy(&header, image.data, sizeof header);
  EXPECT_EQ(header.magic, 0xBA55ED50u);
  EXPECT_EQ(header.header_size + header.size, image.size);
}

TEST_F(KernelsTest, MissingOnesAreNamedWithTheRemedy) {
  try {
    const Kernels kernels({});
    ADD_FAILURE() << "nothing was loaded";
  } catch (const Unavailable& unavailable) {
    EXPECT_STREQ(unavailable.what(), kNoKernels);
    EXPECT_EQ(unavailable.remedy(), kNoKernelsRemedy);
  }
}

TEST_F(KernelsTest, RunWithTheirArgumentsEachTimeAGraphIsLaunched) {
  const Kernels kernels(image_);
  const Stream stream;
  int sum = 0, value = 5;
  fake.kernel(
      "probe", [](void** arguments, void* user) { *static_cast<int*>(user) += *static_cast<int*>(arguments[0]); },
      &sum);
  void* arguments[] = {&value};
  for (const bool cooperative : {false, true}) {
    const Launch how{{2, 1, 1}, {32, 1, 1}, 0, cooperative};
    const GraphExec graph =
        GraphExec::capture(stream, [&] { launch(kernels.function("probe"), how, arguments, stream.handle()); });
    graph.launch(stream);
    graph.launch(stream);
  }
  EXPECT_EQ(sum, 20);
  EXPECT_EQ(fake.calls("cuLaunchCooperativeKernel"), 1);
}

TEST_F(KernelsTest, LargeSharedMemoryMustBeAllowedFirst) {
  const Kernels kernels(image_);
  const Stream stream;
  CUfunc_st* function = kernels.function("needs_shared");
  const Launch how{{3, 2, 1}, {64, 1, 1}, 64 << 10, false};
  try {
    launch(function, how, nullptr, stream.handle());
    ADD_FAILURE() << "launched";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("cuLaunchKernel"), HasSubstr("3x2x1 blocks of 64 threads, 65536 bytes")));
  }
  allow_shared(function, how.shared_bytes);
  EXPECT_NO_THROW(launch(function, how, nullptr, stream.handle()));
  EXPECT_EQ(resident_blocks(function, 64, how.shared_bytes), 1);
}

TEST_F(KernelsTest, EachCallFailsWithItsOwnNameAndLeaksNothing) {
  const auto use = [&] {
    const Kernels kernels(image_);
    const Stream stream;
    CUfunc_st* function = kernels.function("probe");
    allow_shared(function, 1024);
    resident_blocks(function, 32, 0);
    launch(function, {}, nullptr, stream.handle());
  };
  for (const char* call : {"cuModuleLoadData", "cuModuleGetFunction", "cuFuncSetAttribute", "cuLaunchKernel",
                           "cuOccupancyMaxActiveBlocksPerMultiprocessor"}) {
    fake.fail(call, 700, 0);
    try {
      use();
      ADD_FAILURE() << call << " did not fail";
    } catch (const Error& error) {
      EXPECT_EQ(error.call(), call);
      EXPECT_TRUE(error.sticky());
    }
  }
}

}  // namespace
}  // namespace ferry::cuda
