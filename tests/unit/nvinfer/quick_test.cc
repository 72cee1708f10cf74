// Quick requests over the fake driver: a stand-in for each kernel waits for the host as the real one does.
#include "nvinfer/quick.h"

#include <chrono>
#include <cstring>
#include <thread>

#include "session_fixture.h"

namespace ferry::nvinfer {
namespace {

struct Kernels {
  static inline int fetches = 0, answers = 0;
  static inline bool answering = true, giving_up = false;

  static void fetch(void** arguments, void*) {
    const FetchJob& job = *static_cast<FetchJob*>(arguments[0]);
    ++fetches;
    for (std::uint64_t at = 0; at < job.bytes; at += kFetchBlock) {
      auto& flag = reinterpret_cast<std::atomic<std::uint32_t>&>(job.control->ready[at / job.chunk]);
      while (flag.load(std::memory_order_acquire) == 0) std::this_thread::yield();
      std::memcpy(job.to + at, job.from + at, std::min<std::uint64_t>(kFetchBlock, job.bytes - at));
    }
    if (giving_up) {
      job.control->late = 1;
      std::memset(job.to, 0xFF, job.bytes);  // whatever it computed is of no use
    }
    *job.stamps = {1'000'000, 1'500'000};
  }
  static void answer(void** arguments, void*) {
    const AnswerJob& job = *static_cast<AnswerJob*>(arguments[0]);
    ++answers;
    for (int i = 0; i < job.count; ++i) std::memcpy(job.to[i], job.from[i], job.bytes[i]);
    job.control->begun = job.stamps->begun;
    job.control->fetched = job.stamps->fetched;
    job.control->computed = 4'500'000;
    job.control->ended = 4'750'000;
    if (answering)
      reinterpret_cast<std::atomic<std::uint32_t>&>(job.control->answered).store(1, std::memory_order_release);
  }
};

class QuickTest : public SessionTest {
 protected:
  void SetUp() override {
    if (!FERRY_HAS_NVCC) GTEST_SKIP() << "there was no nvcc to compile the kernels";
    SessionTest::SetUp();
    Kernels::fetches = Kernels::answers = 0;
    Kernels::answering = true;
    Kernels::giving_up = false;
    fake.kernel("ferry_fetch", Kernels::fetch, nullptr);
    fake.kernel("ferry_answer", Kernels::answer, nullptr);
    fake.asynchronous(1);
    quick_requests = true;
  }
  void TearDown() override {
    if (!FERRY_HAS_NVCC) return;
    SessionTest::TearDown();
    fake.asynchronous(0);
    fake.kernel(
        "ferry_fetch", [](void**, void*) {}, nullptr);
    fake.kernel(
        "ferry_answer", [](void**, void*) {}, nullptr);
  }
};

TEST_F(QuickTest, AWarmRequestIsOneLaunchWithoutCopiesAndEvents) {
  open();
  run_and_check(4, 1);
  run_and_check(4, 2);
  fake.reset();
  for (float i = 0; i < 5; ++i) run_and_check(4, 10 * i);
  EXPECT_EQ(fake.calls("cuGraphLaunch"), 5);
  for (const char* call : {"cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuEventRecord", "cuMemAlloc_v2",
                           "cuMemHostAlloc"})  // waiting may call the driver where this machine is busy
    EXPECT_EQ(fake.calls(call), 0) << call;
  EXPECT_EQ(Kernels::fetches, 7);
  EXPECT_TRUE(warnings.empty());
}

TEST_F(QuickTest, TimesComeFromTheDevicesClock) {
  open();
  run_and_check(2, 1);
  ferry_times times{};
  const auto input = numbers(2, 3);
  EXPECT_EQ(run(2, input, &times), doubled(input));
  EXPECT_DOUBLE_EQ(times.h2d_ms, 0.5);
  EXPECT_DOUBLE_EQ(times.compute_ms, 3.0);
  EXPECT_DOUBLE_EQ(times.d2h_ms, 0.25);
  EXPECT_GT(times.enqueue_ms, 0);
}

TEST_F(QuickTest, BatchesStagingAndOtherKindsOfRequestsTakeTurns) {
  open();
  for (float round = 1; round <= 3; ++round) {
    for (const std::int64_t batch : {1, 4, 2, 32}) run_and_check(batch, 100 * round);
    EXPECT_EQ(run_resident(4, true), doubled(numbers(4, 100 * round)));
  }
  void *in = nullptr, *out = nullptr;
  session_->staging(4, &in, &out);
  const int answers = Kernels::answers;
  EXPECT_EQ(answers, 12) << "every round, each batch size";
  for (int i = 0; i < 3; ++i) {
    const auto input = numbers(4, static_cast<float>(i));
    std::copy(input.begin(), input.end(), static_cast<float*>(in));
    session_->submit({sizeof(ferry_run_args), 4, &in, &out, 0});
    session_->wait(nullptr);
    EXPECT_EQ(std::vector<float>(static_cast<float*>(out), static_cast<float*>(out) + input.size()), doubled(input));
  }
  EXPECT_EQ(Kernels::answers, answers) << "a request out of the staging is copied by the device";
}

TEST_F(QuickTest, MoreBatchesThanAreKeptAreStillRight) {
  OpenOptions options;
  options.batch_limit = 2;
  open(options);
  for (float round = 1; round <= 3; ++round)
    for (std::int64_t batch = 1; batch <= 5; ++batch)
      for (int again = 0; again < 3; ++again) run_and_check(batch, round * 10 + static_cast<float>(again));
}

TEST_F(QuickTest, IsOffWhereItIsNotWanted) {
  for (auto change : {+[](OpenOptions& o) { o.quick = false; }, +[](OpenOptions& o) { o.graphs = false; },
                      +[](OpenOptions& o) { o.block = true; }}) {
    OpenOptions options;
    change(options);
    open(options);
    for (float i = 0; i < 3; ++i) run_and_check(4, i);
  }
  EXPECT_EQ(Kernels::fetches, 0);
}

TEST_F(QuickTest, WithoutKernelsForThisGpuRequestsAreCopied) {
  fake.fail("cuModuleLoadData", 209, 0);
  open();
  for (float i = 0; i < 4; ++i) run_and_check(4, i);
  EXPECT_EQ(Kernels::fetches, 0);
  EXPECT_EQ(fake.calls("cuModuleLoadData"), 1) << "it is not tried again and again";
}

TEST_F(QuickTest, ALaunchThatFailsIsThisRequestsFailureOnly) {
  open();
  for (float i = 0; i < 3; ++i) run_and_check(4, i);
  fake.fail("cuGraphLaunch", 1, 0);
  EXPECT_THAT(cause_of([&] { run(4, numbers(4, 1)); }), HasSubstr("cuGraphLaunch"));
  for (float i = 0; i < 3; ++i) run_and_check(4, i);
}

TEST_F(QuickTest, ADeviceThatNeverAnswersIsAnErrorAndNotAHang) {
  open();
  for (float i = 0; i < 3; ++i) run_and_check(4, i);
  Kernels::answering = false;
  EXPECT_THAT(cause_of([&] { run(4, numbers(4, 1)); }), HasSubstr("without an answer"));
  fake.fail("cuStreamSynchronize", kIllegalAddress, 0);
  EXPECT_THAT(cause_of([&] { run(4, numbers(4, 1)); }), HasSubstr("cuStreamSynchronize"));
  Kernels::answering = true;
  run_and_check(4, 5);
}

TEST_F(QuickTest, ARequestWhoseInputCameTooLateIsCopiedAndSoAreThoseAfterIt) {
  open();
  for (float i = 0; i < 3; ++i) run_and_check(4, i);
  Kernels::giving_up = true;
  ferry_times times{};
  EXPECT_EQ(run(4, numbers(4, 7), &times), doubled(numbers(4, 7)));
  EXPECT_GT(times.compute_ms, 0);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("waited in vain"));
  const int before = Kernels::fetches;
  for (float i = 0; i < 3; ++i) run_and_check(4, 20 + i);
  EXPECT_EQ(Kernels::fetches, before);
  EXPECT_EQ(warnings.size(), 1u);
}

TEST(FitsQuick, SmallRequestsOfOneInput) {
  const auto port = [](std::size_t bytes) { return Port{"p", 1, {-1, 4}, bytes}; };
  EXPECT_TRUE(fits_quick({port(602'112)}, {port(4000)}, 1));
  EXPECT_FALSE(fits_quick({port(602'112)}, {port(4000)}, 2));
  EXPECT_TRUE(fits_quick({port(150'528)}, {port(20), port(20)}, 6));
  EXPECT_FALSE(fits_quick({port(16), port(16)}, {port(16)}, 1));
  EXPECT_FALSE(fits_quick({port(16)}, {port(1 << 17)}, 1));
  EXPECT_FALSE(fits_quick({port(0)}, {port(16)}, 1));
}

TEST(QuickChunk, CoversEverySizeWithWholeBlocks) {
  for (std::size_t bytes = 1; bytes <= kMostQuickInput; bytes = bytes * 3 / 2 + 1) {
    const std::size_t chunk = quick_chunk(bytes);
    EXPECT_EQ(chunk % kFetchBlock, 0u);
    EXPECT_LE((bytes + chunk - 1) / chunk, static_cast<std::size_t>(kMostQuickChunks)) << bytes;
  }
}

}  // namespace
}  // namespace ferry::nvinfer
