// Sessions over the fake driver: results, graphs, buffers that move, times, and every way a request can go wrong.
#include <cmath>

#include "session_fixture.h"

namespace ferry::nvinfer {
namespace {

TEST_F(SessionTest, EveryBatchOfTheProfileIsRightAgainAndAgain) {
  open();
  for (float round = 1; round <= 3; ++round) {
    for (std::int64_t batch = 1; batch <= 32; ++batch) run_and_check(batch, round * 100);
  }
  EXPECT_TRUE(warnings.empty());
}

TEST_F(SessionTest, EveryRunIsOneLaunchOfWhatWasCaptured) {
  open();
  for (float i = 1; i <= 3; ++i) run_and_check(4, i);
  EXPECT_EQ(fake.calls("cuGraphLaunch"), 3);
  EXPECT_EQ(fake.calls("cuGraphInstantiateWithFlags"), 1);
  EXPECT_EQ(network.switches.enqueues, 1) << "in the capture, never by itself";
}

TEST_F(SessionTest, ANetworkThatMustRunBeforeItIsCapturedIsAskedAgain) {
  network.switches.capturable = false;
  open();
  run_and_check(4, 1);
  network.switches.capturable = true;
  for (float i = 2; i <= 3; ++i) run_and_check(4, i);
  EXPECT_EQ(fake.calls("cuGraphLaunch"), 2);
  EXPECT_TRUE(warnings.empty());
  EXPECT_THAT(notes, ::testing::ElementsAre(HasSubstr("batch 4 put off until it has run once")));
}

TEST_F(SessionTest, AWarmRunAllocatesNothing) {
  open();
  for (int i = 0; i < 3; ++i) run_and_check(4, 1);
  fake.reset();
  run_and_check(4, 5);
  for (const char* call : {"cuMemAlloc_v2", "cuMemHostAlloc", "cuEventCreate", "cuStreamBeginCapture_v2"}) {
    EXPECT_EQ(fake.calls(call), 0) << call;
  }
}

TEST_F(SessionTest, GraphsCanBeSwitchedOff) {
  OpenOptions options;
  options.graphs = false;
  open(options);
  for (int i = 0; i < 3; ++i) run_and_check(4, 1);
  EXPECT_EQ(fake.calls("cuGraphLaunch"), 0);
  EXPECT_EQ(network.switches.enqueues, 3);
}

TEST_F(SessionTest, GraphsAreCapturedAgainAfterStagingMoved) {
  open();
  for (int i = 0; i < 3; ++i) run_and_check(2, 1);
  run_and_check(32, 1);  // staging grows, so the graph of batch 2 copies from memory that is gone
  for (float i = 0; i < 3; ++i) run_and_check(2, 50 + i);
  EXPECT_EQ(fake.calls("cuGraphInstantiateWithFlags"), 3);
}

TEST_F(SessionTest, StagingPointersStayUsableWhenOtherRequestsNeedMore) {
  open();
  void *in = nullptr, *out = nullptr;
  session_->staging(2, &in, &out);
  const auto input = numbers(2, 7);
  std::copy(input.begin(), input.end(), static_cast<float*>(in));
  run_and_check(16, 1);
  session_->submit({sizeof(ferry_run_args), 2, &in, &out, 0});
  session_->wait(nullptr);
  EXPECT_EQ(std::vector<float>(static_cast<float*>(out), static_cast<float*>(out) + input.size()), doubled(input));
}

TEST_F(SessionTest, StagedRequestsAreUsedInPlace) {
  open();
  void *in = nullptr, *out = nullptr;
  session_->staging(8, &in, &out);
  for (int round = 0; round < 3; ++round) {
    const auto input = numbers(8, static_cast<float>(round));
    std::copy(input.begin(), input.end(), static_cast<float*>(in));
    session_->submit({sizeof(ferry_run_args), 8, &in, &out, 0});
    session_->wait(nullptr);
    EXPECT_EQ(std::vector<float>(static_cast<float*>(out), static_cast<float*>(out) + input.size()), doubled(input));
  }
}

TEST_F(SessionTest, TimesAreThoseOfTheDeviceWithAndWithoutGraph) {
  open();
  for (int i = 0; i < 3; ++i) {
    ferry_times times{};
    run(4, numbers(4, 1), &times);
    EXPECT_EQ(times.h2d_ms, 1);
    EXPECT_EQ(times.compute_ms, 2);
    EXPECT_EQ(times.d2h_ms, 4);
    EXPECT_GT(times.enqueue_ms, 0);
  }
}

TEST_F(SessionTest, WithoutTimingTimesAreUnknownAndNoEventIsRecorded) {
  OpenOptions options;
  options.timing = false;
  open(options);
  ferry_times times{};
  for (int i = 0; i < 2; ++i) run(4, numbers(4, 1), &times);
  EXPECT_TRUE(std::isnan(times.compute_ms) && std::isnan(times.h2d_ms) && std::isnan(times.d2h_ms));
  EXPECT_GT(times.enqueue_ms, 0);
  EXPECT_EQ(fake.calls("cuEventRecord") + fake.calls("cuEventRecordWithFlags"), 0);
}

TEST_F(SessionTest, AResidentRunComputesOnTheLastInputsOfItsBatch) {
  open();
  const auto of_two = numbers(2, 10), of_three = numbers(3, 20);
  run(2, of_two);
  run(3, of_three);
  for (int i = 0; i < 3; ++i) {
    ferry_times times{};
    EXPECT_EQ(run_resident(2, true, &times), doubled(of_two));
    EXPECT_EQ(times.h2d_ms, 0);
    EXPECT_EQ(times.compute_ms, 2);
    EXPECT_EQ(times.d2h_ms, 4);
    EXPECT_EQ(run_resident(3, true), doubled(of_three));
  }
}

TEST_F(SessionTest, AResidentRunCopiesNothingUnlessAsked) {
  open();
  run(2, numbers(2, 10));
  fake.reset();
  ferry_times times{};
  EXPECT_TRUE(std::isnan(run_resident(2, false, &times)[0]));
  EXPECT_EQ(fake.calls("cuMemcpyDtoHAsync_v2") + fake.calls("cuMemcpyHtoDAsync_v2"), 0);
  EXPECT_EQ(fake.calls("cuGraphLaunch"), 1);
  EXPECT_EQ(times.d2h_ms, 0);
}

TEST_F(SessionTest, AResidentRunNeedsInputsOfItsBatchSize) {
  open();
  run(2, numbers(2, 10));
  EXPECT_THAT(cause_of([&] { run_resident(3, true); }), HasSubstr("nothing is on the device yet"));
  run_and_check(3, 1);
}

TEST_F(SessionTest, BatchesOutsideTheProfileShowGivenAgainstAllowed) {
  open();
  run_and_check(4, 1);
  for (const std::int64_t batch : {std::int64_t{33}, std::int64_t{0}, std::int64_t{-1}}) {
    EXPECT_THAT(cause_of([&] { run(batch, numbers(1, 1)); }),
                AllOf(HasSubstr("1..32"), HasSubstr("given " + std::to_string(batch))));
    void *in = nullptr, *out = nullptr;
    EXPECT_THAT(cause_of([&] { session_->staging(batch, &in, &out); }), HasSubstr("1..32"));
  }
  run_and_check(4, 9);
}

TEST_F(SessionTest, TheSmallestFittingProfileIsUsed) {
  network = DoublingNetwork({{1, 1, 1}, {1, 8, 8}, {1, 32, 32}});
  open();
  for (const auto& [batch, profile] : {std::pair{1, 0}, {2, 1}, {8, 1}, {9, 2}}) {
    run_and_check(batch, 1);
    EXPECT_EQ(DoublingExecutor::last_profile, profile) << batch;
  }
}

TEST_F(SessionTest, FewerLanesThanBatchesReuseTheOldest) {
  OpenOptions options;
  options.batch_limit = 2;
  open(options);
  for (int i = 0; i < 3; ++i) run_and_check(1, 1);
  for (int i = 0; i < 3; ++i) run_and_check(2, 1);
  run_and_check(1, 2);  // batch 2 is the oldest now
  run_and_check(3, 1);
  EXPECT_EQ(network.executors, 2);
  fake.reset();
  run_and_check(1, 3);
  EXPECT_EQ(fake.calls("cuGraphLaunch"), 1) << "batch 1 kept its graph";
  for (float i = 0; i < 3; ++i) run_and_check(2, i);
  EXPECT_THAT(cause_of([&] { run_resident(3, true); }), HasSubstr("nothing is on the device"));
}

TEST_F(SessionTest, ANetworkThatCannotBeCapturedRunsAndWarnsOnce) {
  network.switches.capturable = false;
  open();
  for (int i = 0; i < 4; ++i) run_and_check(4, static_cast<float>(i));
  run_resident(4, true);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("CUDA graph not used"));
}

TEST_F(SessionTest, ACaptureThatBreaksFallsBackWithinTheSameRequest) {
  network.switches.breaks_capture = true;
  open();
  for (int i = 0; i < 4; ++i) run_and_check(4, static_cast<float>(i));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("cuStreamEndCapture"));
  EXPECT_EQ(fake.calls("cuGraphLaunch"), 0);
}

TEST_F(SessionTest, ARefusedInstantiationFallsBackToo) {
  open();
  for (int i = 0; i < 2; ++i) {  // before a first run, and behind it
    fake.fail("cuGraphInstantiateWithFlags", kUnsupportedInCapture, 0);
    run_and_check(4, static_cast<float>(i));
    EXPECT_EQ(warnings.size(), static_cast<std::size_t>(i));
  }
  for (int i = 0; i < 3; ++i) run_and_check(4, static_cast<float>(i));
  EXPECT_EQ(warnings.size(), 1u);
  EXPECT_EQ(fake.calls("cuGraphLaunch"), 0);
}

TEST_F(SessionTest, AFailingNetworkFailsTheRequestAndTheNextOneWorks) {
  open();
  network.switches.fails = true;
  EXPECT_THAT(cause_of([&] { run(4, numbers(4, 1)); }), HasSubstr("the fake network fails"));
  network.switches.fails = false;
  run_and_check(4, 1);
}

class FailingCall : public SessionTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(FailingCall, FailsTheRequestOnceAndTheNextOneWorks) {
  open();
  fake.fail(GetParam(), kIllegalAddress, 0);
  EXPECT_THAT(cause_of([&] {
                for (int i = 0; i < 2; ++i) run(4, numbers(4, 1));
              }),
              HasSubstr("(700)"));
  for (float i = 0; i < 3; ++i) run_and_check(4, i);
  EXPECT_TRUE(warnings.empty()) << "a lost device is an error, not a reason to go on without graphs";
}

INSTANTIATE_TEST_SUITE_P(Driver, FailingCall,
                         ::testing::Values("cuMemAlloc_v2", "cuMemHostAlloc", "cuMemcpyHtoDAsync_v2",
                                           "cuMemcpyDtoHAsync_v2", "cuEventRecord", "cuEventRecordWithFlags",
                                           "cuStreamBeginCapture_v2", "cuStreamEndCapture",
                                           "cuGraphInstantiateWithFlags", "cuGraphUpload", "cuGraphLaunch",
                                           "cuStreamSynchronize"),
                         [](const auto& call) { return std::string(call.param); });

TEST_F(SessionTest, OpeningFailsCleanlyWhenMemoryIsShort) {
  for (const char* call : {"cuMemAlloc_v2", "cuStreamCreate", "cuEventCreate"}) {
    fake.fail(call, kOutOfMemory, 0);
    EXPECT_THAT(cause_of([&] { open(); }), HasSubstr("out of memory")) << call;
  }
}

TEST_F(SessionTest, ALaneThatFindsNoMemoryIsNotUsedHalfMade) {
  OpenOptions options;
  options.batch_limit = 1;
  open(options);
  run_and_check(1, 1);
  fake.fail("cuMemAlloc_v2", kOutOfMemory, 0);
  EXPECT_THAT(cause_of([&] { run(32, numbers(32, 1)); }), HasSubstr("out of memory"));
  run_and_check(1, 2);
  run_and_check(32, 3);
}

TEST_F(SessionTest, RequestsOutOfOrderAreRefused) {
  open();
  EXPECT_THAT(cause_of([&] { session_->wait(nullptr); }), HasSubstr("without a request"));
  const auto input = numbers(1, 1);
  std::vector<float> output(input.size());
  const void* in = input.data();
  void* out = output.data();
  const ferry_run_args args{sizeof(ferry_run_args), 1, &in, &out, 0};
  session_->submit(args);
  EXPECT_THAT(cause_of([&] { session_->submit(args); }), HasSubstr("already in flight"));
  void *staged_in = nullptr, *staged_out = nullptr;
  EXPECT_THAT(cause_of([&] { session_->staging(1, &staged_in, &staged_out); }), HasSubstr("in flight"));
  session_->wait(nullptr);
  EXPECT_EQ(output, doubled(input));
}

TEST_F(SessionTest, MissingMemoryIsNamed) {
  open();
  const void* in = nullptr;
  void* out = nullptr;
  EXPECT_THAT(cause_of([&] {
                session_->submit({sizeof(ferry_run_args), 1, &in, &out, 0});
              }),
              HasSubstr("input 'input'"));
  const auto input = numbers(1, 1);
  in = input.data();
  EXPECT_THAT(cause_of([&] {
                session_->submit({sizeof(ferry_run_args), 1, &in, &out, 0});
              }),
              HasSubstr("output 'output'"));
  EXPECT_THAT(cause_of([&] {
                session_->submit({sizeof(ferry_run_args), 1, nullptr, nullptr, 0});
              }),
              HasSubstr("input"));
}

TEST_F(SessionTest, ClosingWithARequestInFlightWaitsForIt) {
  open();
  const auto input = numbers(1, 1);
  std::vector<float> output(input.size());
  const void* in = input.data();
  void* out = output.data();
  session_->submit({sizeof(ferry_run_args), 1, &in, &out, 0});
  session_.reset();
  EXPECT_EQ(fake.calls("cuStreamSynchronize"), 1);
}

}  // namespace
}  // namespace ferry::nvinfer
