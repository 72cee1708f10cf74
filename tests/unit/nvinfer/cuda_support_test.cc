// cuda_support over the fake driver: buffers, streams, graphs, and every way a call can fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <thread>

#include "cuda_support/context.h"
#include "cuda_support/devices.h"
#include "cuda_support/error.h"
#include "cuda_support/graph.h"
#include "cuda_support/memory.h"
#include "cuda_support/nvml.h"
#include "cuda_support/stream.h"
#include "fake_driver.h"

namespace ferry::cuda {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kOutOfMemory = 2, kIllegalAddress = 700, kNoDevice = 100;

class CudaSupport : public ::testing::Test {
 protected:
  void SetUp() override {
    fake.reset();
    live_before_ = fake.live();
    context_.emplace(0);
    current_.emplace(*context_);
    take_swallowed_error();
  }
  void TearDown() override {
    current_.reset();
    context_.reset();
    EXPECT_EQ(fake.live(), live_before_) << "a handle leaked";
    EXPECT_EQ(fake.device_bytes(), 0u);
  }

  const ferry::testing::FakeDriver& fake = ferry::testing::FakeDriver::get();
  std::optional<Context> context_;
  std::optional<Current> current_;

 private:
  int live_before_ = 0;
};

template <typename Function>
std::string message_of(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(CudaSupport, CopiesThroughTheDeviceUnchanged) {
  const Stream stream;
  const std::string text = "bytes";
  PinnedBuffer in(text.size()), out(text.size());
  const DeviceBuffer device(text.size());
  std::memcpy(in.data(), text.data(), text.size());
  copy_to_device(device.data(), in.data(), text.size(), stream.handle());
  copy_to_host(out.data(), device.data(), text.size(), stream.handle());
  stream.synchronize();
  EXPECT_EQ(std::memcmp(out.data(), text.data(), text.size()), 0);
  EXPECT_EQ(fake.device_bytes(), text.size());
}

TEST_F(CudaSupport, MovedFromHandlesFreeNothingTwice) {
  DeviceBuffer first(64);
  DeviceBuffer second(std::move(first));
  EXPECT_EQ(first.data(), nullptr);
  first = std::move(second);
  EXPECT_EQ(first.size(), 64u);
  first = DeviceBuffer(32);
  EXPECT_EQ(fake.device_bytes(), 32u);
  PinnedBuffer pinned(8);
  pinned = PinnedBuffer(16);
  EXPECT_EQ(pinned.size(), 16u);
  Stream stream;
  stream = Stream();
  Event event;
  event = Event();
  first = DeviceBuffer();
}

TEST_F(CudaSupport, PinnedBufferKnowsItsOwnPointers) {
  const PinnedBuffer buffer(4);
  const auto* begin = static_cast<const std::byte*>(buffer.data());
  EXPECT_TRUE(buffer.contains(begin));
  EXPECT_TRUE(buffer.contains(begin + 3));
  EXPECT_FALSE(buffer.contains(begin + 4));
  EXPECT_FALSE(PinnedBuffer().contains(nullptr));
}

TEST_F(CudaSupport, ErrorsCarryCallCodeNameTextAndSize) {
  fake.fail("cuMemAlloc_v2", kOutOfMemory, 0);
  EXPECT_THAT(message_of([] { DeviceBuffer buffer(1234); }),
              AllOf(HasSubstr("cuMemAlloc (1234 bytes)"), HasSubstr("CUDA_ERROR_OUT_OF_MEMORY (2): out of memory")));
  const Error error("cuMemAlloc", kOutOfMemory, "");
  EXPECT_TRUE(error.out_of_memory());
  EXPECT_FALSE(error.sticky());
  EXPECT_TRUE(Error("cuStreamSynchronize", kIllegalAddress, "").sticky());
}

TEST_F(CudaSupport, MoreMemoryThanTheCardHasIsRefusedByTheDriver) {
  EXPECT_THAT(message_of([] { DeviceBuffer buffer(std::size_t{9} << 30); }), HasSubstr("out of memory"));
  EXPECT_EQ(memory_info().total, std::size_t{8} << 30);
}

void use_stream_and_graph() {
  const Stream stream;
  const Event start, stop;
  const DeviceBuffer device(8);
  const PinnedBuffer host(8);
  const GraphExec graph = GraphExec::capture(stream, [&] {
    start.record_in_graph(stream);
    copy_to_device(device.data(), host.data(), 8, stream.handle());
    stop.record_in_graph(stream);
  });
  start.record(stream);
  graph.launch(stream);
  fill_bytes(device.data(), 0xFF, 8, stream.handle());
  copy_to_host(host.data(), device.data(), 8, stream.handle());
  stream.synchronize();
  memory_info();
}

class EachCall : public CudaSupport, public ::testing::WithParamInterface<const char*> {};

TEST_P(EachCall, FailsWithItsOwnNameAndLeaksNothing) {
  fake.fail(GetParam(), kIllegalAddress, 0);
  EXPECT_THAT(message_of(use_stream_and_graph),
              AllOf(HasSubstr(std::string(GetParam()).substr(0, 8)), HasSubstr("(700)")));
  EXPECT_NO_THROW(use_stream_and_graph()) << "the failure was planned once";
}

INSTANTIATE_TEST_SUITE_P(Driver, EachCall,
                         ::testing::Values("cuMemAlloc_v2", "cuMemHostAlloc", "cuMemGetInfo_v2", "cuMemsetD8Async",
                                           "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuStreamCreate",
                                           "cuStreamSynchronize", "cuStreamBeginCapture_v2", "cuStreamEndCapture",
                                           "cuEventCreate", "cuEventRecord", "cuEventRecordWithFlags",
                                           "cuGraphInstantiateWithFlags", "cuGraphUpload", "cuGraphLaunch",
                                           "cuCtxGetCurrent"),
                         [](const auto& call) { return std::string(call.param); });

TEST_F(CudaSupport, DestructorsNeverThrowButTheFailureIsKept) {
  for (const char* function : {"cuMemFree_v2", "cuMemFreeHost", "cuStreamDestroy_v2", "cuEventDestroy_v2",
                               "cuGraphExecDestroy", "cuGraphDestroy"}) {
    fake.fail(function, 999, 0);
    EXPECT_NO_THROW(use_stream_and_graph());
    EXPECT_THAT(take_swallowed_error(), AllOf(HasSubstr(std::string(function).substr(0, 8)), HasSubstr("(999)")));
    EXPECT_EQ(take_swallowed_error(), "") << "reported once";
  }
}

TEST_F(CudaSupport, MemoryIsFreedInItsOwnContextOnAnotherThread) {
  auto buffer = std::make_unique<DeviceBuffer>(8);
  auto pinned = std::make_unique<PinnedBuffer>(8);
  std::thread([&] {
    buffer.reset();
    pinned.reset();
  }).join();
  EXPECT_EQ(fake.device_bytes(), 0u);
  EXPECT_EQ(take_swallowed_error(), "");
}

TEST_F(CudaSupport, AGraphReplaysWhatWasEnqueued) {
  const Stream stream;
  const DeviceBuffer device(4);
  const PinnedBuffer in(4), out(4);
  const GraphExec graph = GraphExec::capture(stream, [&] {
    copy_to_device(device.data(), in.data(), 4, stream.handle());
    copy_to_host(out.data(), device.data(), 4, stream.handle());
  });
  for (const int value : {7, 8}) {
    std::memcpy(in.data(), &value, 4);
    graph.launch(stream);
    stream.synchronize();
    EXPECT_EQ(std::memcmp(out.data(), &value, 4), 0);
  }
}

TEST_F(CudaSupport, AFailureInsideACaptureEndsItAndKeepsItsCause) {
  const Stream stream;
  EXPECT_THROW(GraphExec::capture(stream, [] { throw std::logic_error("cause"); }), std::logic_error);
  EXPECT_NO_THROW(stream.synchronize()) << "the stream is still capturing";
}

TEST_F(CudaSupport, AnInvalidatedCaptureIsAnErrorAndTheStreamGoesOn) {
  const Stream stream;
  EXPECT_THAT(message_of([&] { GraphExec::capture(stream, [&] { fake.forbidden_in_capture(stream.handle()); }); }),
              HasSubstr("cuStreamEndCapture"));
  EXPECT_NO_THROW(stream.synchronize());
}

TEST_F(CudaSupport, EventsGiveMillisecondsAndNaNWhenNeverRecorded) {
  const Stream stream;
  const Event start, stop, never;
  const DeviceBuffer device(4);
  const PinnedBuffer host(4);
  start.record(stream);
  copy_to_device(device.data(), host.data(), 4, stream.handle());
  stop.record(stream);
  EXPECT_EQ(Event::elapsed_ms(start, stop), 1.0);
  EXPECT_TRUE(std::isnan(Event::elapsed_ms(start, never)));
}

TEST_F(CudaSupport, ListsDevicesWithVersionsAndUuid) {
  const DeviceList list = devices();
  ASSERT_EQ(list.devices.size(), 1u);
  const DeviceInfo& device = list.devices[0];
  EXPECT_EQ(device.name, "Fake GPU");
  EXPECT_EQ(device.compute_capability(), "8.9");
  EXPECT_EQ(device.memory_bytes, std::int64_t{8} << 30);
  EXPECT_EQ(device.cuda, "13.1");
  EXPECT_EQ(device.uuid, "GPU-f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff");
  EXPECT_NE(device.driver, "");
}

TEST_F(CudaSupport, ADriverThatFailsIsAReasonNotAnException) {
  fake.fail("cuDeviceGetCount", kNoDevice, 0);
  const DeviceList list = devices();
  EXPECT_TRUE(list.devices.empty());
  EXPECT_THAT(list.reason, HasSubstr("cuDeviceGetCount failed"));
  EXPECT_NE(list.remedy, "");
  fake.fail("cuDeviceGetName", kNoDevice, 0);
  EXPECT_TRUE(devices().devices.empty());
}

TEST_F(CudaSupport, AMissingDeviceIsNamed) {
  EXPECT_THAT(message_of([] { Context context(3); }), HasSubstr("device 3"));
  fake.fail("cuDevicePrimaryCtxRetain", kOutOfMemory, 0);
  EXPECT_THAT(message_of([] { Context context(0); }), HasSubstr("cuDevicePrimaryCtxRetain"));
  fake.fail("cuCtxPushCurrent_v2", kIllegalAddress, 0);
  EXPECT_THAT(message_of([&] { Current again(*context_); }), HasSubstr("cuCtxPushCurrent"));
}

TEST_F(CudaSupport, TelemetryIsNaNWhereTheCardDoesNotTell) {
  const NvmlDevice card(devices().devices.at(0).uuid);
  ASSERT_TRUE(card.available());
  const Telemetry now = card.now();
  EXPECT_EQ(now.sm_clock_mhz, 1800);
  EXPECT_EQ(now.memory_clock_mhz, 9001);
  EXPECT_EQ(now.temperature_c, 55);
  EXPECT_TRUE(std::isnan(now.power_w));
  EXPECT_EQ(now.memory_used_bytes, 2000);
  EXPECT_EQ(now.throttle_reasons, 0x40u);
  const NvmlDevice unknown("GPU-0");
  EXPECT_FALSE(unknown.available());
  EXPECT_TRUE(std::isnan(unknown.now().sm_clock_mhz));
}

}  // namespace
}  // namespace ferry::cuda
