// Chunked copies to the device, alone and with helpers: right bytes, in every size, and after a failure.
#include "nvinfer/upload.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <numeric>
#include <optional>

#include "cuda_support/context.h"
#include "cuda_support/error.h"
#include "cuda_support/memory.h"
#include "fake_driver.h"

namespace ferry::nvinfer {
namespace {

constexpr std::size_t kMegabyte = std::size_t{1} << 20;

class UploadTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { fake.reset(); }

  std::vector<unsigned char> pattern(std::size_t size, unsigned char first) const {
    std::vector<unsigned char> bytes(size, first);
    for (std::size_t i = 0; i < size; i += 1021) bytes[i] = static_cast<unsigned char>(i / 1021 + first);
    return bytes;
  }
  void copy_and_check(Uploader& uploader, std::size_t size, unsigned char first) {
    const auto bytes = pattern(size, first);
    uploader.upload(device_.data(), staged_.data(), bytes.data(), size, stream_);
    EXPECT_EQ(std::memcmp(device_.data(), bytes.data(), size), 0) << size;  // the fake device's memory is the host's
  }

  const ferry::testing::FakeDriver& fake = ferry::testing::FakeDriver::get();
  const cuda::Context context_{0};
  const cuda::Current current_{context_};
  const cuda::DeviceBuffer device_{9 * kMegabyte};
  const cuda::PinnedBuffer staged_{9 * kMegabyte};
  const cuda::Stream stream_;
};

TEST_P(UploadTest, EverySizeArrivesWhole) {
  Uploader uploader(GetParam());
  for (const std::size_t size : {std::size_t{1}, std::size_t{602'112}, 2 * kMegabyte - 1, 2 * kMegabyte,
                                 3 * kMegabyte + 17, 9 * kMegabyte, std::size_t{5}, 8 * kMegabyte + 1}) {
    copy_and_check(uploader, size, static_cast<unsigned char>(size % 251));
  }
}

TEST_P(UploadTest, OneJobAfterAnotherNeverMix) {
  Uploader uploader(GetParam());
  for (int i = 0; i < 20; ++i) copy_and_check(uploader, (2 + i % 5) * kMegabyte + i, static_cast<unsigned char>(i));
}

TEST_P(UploadTest, PicturesOneAfterAnotherAreSharedByThoseAwake) {
  Uploader uploader(GetParam());
  for (int i = 0; i < 200; ++i) {
    copy_and_check(uploader, 602'112 - static_cast<std::size_t>(i), static_cast<unsigned char>(i));
    uploader.expect_another();
    if (i % 50 == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // they fall asleep, and are woken again
  }
}

TEST_P(UploadTest, AFailedCopyLeavesNothingRunningAndTheNextOneWorks) {
  Uploader uploader(GetParam());
  for (int i = 0; i < 5; ++i) {
    auto bytes = pattern(7 * kMegabyte, 3);
    fake.fail("cuMemcpyHtoDAsync_v2", 700, 0);
    EXPECT_THROW(uploader.upload(device_.data(), staged_.data(), bytes.data(), bytes.size(), stream_), cuda::Error);
    bytes.clear();  // nobody reads it any more
    bytes.shrink_to_fit();
    copy_and_check(uploader, 7 * kMegabyte, static_cast<unsigned char>(i));
  }
}

TEST_P(UploadTest, StagedMemoryIsSentAsItIs) {
  Uploader uploader(GetParam());
  std::memset(staged_.data(), 7, 4 * kMegabyte);
  uploader.upload(device_.data(), staged_.data(), staged_.data(), 4 * kMegabyte, stream_);
  EXPECT_EQ(fake.calls("cuMemcpyHtoDAsync_v2"), 1);
  EXPECT_EQ(static_cast<unsigned char*>(device_.data())[4 * kMegabyte - 1], 7);
}

TEST_P(UploadTest, SharedCopiesRaiseAFlagForEachChunk) {
  Uploader uploader(GetParam());
  for (int i = 0; i < 200; ++i) {
    const std::size_t size = 602'112 - static_cast<std::size_t>(i), chunk = 40'960;
    const auto bytes = pattern(size, static_cast<unsigned char>(i));
    std::vector<std::atomic<std::uint32_t>> ready(16);
    bool called = false;
    uploader.share(staged_.data(), bytes.data(), size, {ready.data(), chunk}, [&] { called = true; });
    EXPECT_TRUE(called);
    EXPECT_EQ(std::memcmp(staged_.data(), bytes.data(), size), 0);
    for (std::size_t c = 0; c < 16; ++c) EXPECT_EQ(ready[c].load(), c * chunk < size ? 1u : 0u);
    uploader.expect_another();
  }
  std::vector<std::atomic<std::uint32_t>> ready(4);
  auto* const staged = static_cast<unsigned char*>(staged_.data());
  std::iota(staged, staged + 8192, static_cast<unsigned char>(0));
  uploader.share(staged, staged + 100, 8192, {ready.data(), 8192}, [] {});  // overlaps
  EXPECT_EQ(staged[0], 100);
  EXPECT_EQ(ready[0].load(), 1u);
  EXPECT_THROW(uploader.share(staged, pattern(8192, 1).data(), 8192, {ready.data(), 8192},
                              [] { throw std::runtime_error("no launch"); }),
               std::runtime_error);
  copy_and_check(uploader, 3 * kMegabyte, 9);
}

INSTANTIATE_TEST_SUITE_P(Threads, UploadTest, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace ferry::nvinfer
