// Sessions over the fake driver: what their tests share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "cuda_support/error.h"
#include "fake_network.h"
#include "nvinfer/session.h"

namespace ferry::nvinfer {

using ferry::testing::DoublingExecutor;
using ferry::testing::DoublingNetwork;
using ::testing::AllOf;
using ::testing::HasSubstr;

inline constexpr std::size_t kRow = DoublingExecutor::kRow;
inline constexpr int kIllegalAddress = 700, kOutOfMemory = 2, kUnsupportedInCapture = 900;

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fake.reset();
    context_.emplace(0);
    current_.emplace(*context_);
  }
  void TearDown() override {
    session_.reset();
    current_.reset();
    context_.reset();
    EXPECT_EQ(fake.live(), 0) << "a handle leaked";
  }

  Session& open(const OpenOptions& options = {}) {
    session_.reset();
    OpenOptions all = options;
    all.quick = all.quick && quick_requests;
    session_ = std::make_unique<Session>(network, all, [&](int severity, const std::string& line) {
      (severity <= 1 ? warnings : notes).push_back(line);
    });
    return *session_;
  }

  static std::vector<float> numbers(std::int64_t batch, float first) {
    std::vector<float> values(kRow * static_cast<std::size_t>(batch));
    std::iota(values.begin(), values.end(), first);
    return values;
  }
  static std::vector<float> doubled(std::vector<float> values) {
    for (float& value : values) value *= 2;
    return values;
  }

  std::vector<float> run(std::int64_t batch, const std::vector<float>& input, ferry_times* times = nullptr) {
    std::vector<float> output(input.size(), std::numeric_limits<float>::quiet_NaN());
    const void* in = input.data();
    void* out = output.data();
    session_->submit({sizeof(ferry_run_args), batch, &in, &out, 0});
    session_->wait(times);
    return output;
  }
  void run_and_check(std::int64_t batch, float first) {
    const auto input = numbers(batch, first);
    EXPECT_EQ(run(batch, input), doubled(input)) << "batch " << batch;
  }
  std::vector<float> run_resident(std::int64_t batch, bool fetch, ferry_times* times = nullptr) {
    std::vector<float> output(kRow * static_cast<std::size_t>(batch), std::numeric_limits<float>::quiet_NaN());
    void* out = output.data();
    session_->submit(
        {sizeof(ferry_run_args), batch, nullptr, &out, FERRY_RUN_RESIDENT | (fetch ? FERRY_RUN_FETCH : 0u)});
    session_->wait(times);
    return output;
  }
  template <typename Call>
  static std::string cause_of(const Call& call) {
    try {
      call();
    } catch (const Failure& failure) {
      return failure.cause;
    } catch (const cuda::Error& error) {
      return error.what();
    }
    return "no error";
  }

  const ferry::testing::FakeDriver& fake = ferry::testing::FakeDriver::get();
  DoublingNetwork network;
  bool quick_requests = false;  // those of quick_test.cc only: the others count copies and events
  std::vector<std::string> warnings, notes;
  std::unique_ptr<Session> session_;

 private:
  std::optional<cuda::Context> context_;
  std::optional<cuda::Current> current_;
};

}  // namespace ferry::nvinfer
