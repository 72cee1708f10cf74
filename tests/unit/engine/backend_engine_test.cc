// Building, opening and running through the interface, and every entry failing in turn.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "backend_fixture.h"

namespace ferry {
namespace {

using testing::AllOf;
using testing::HasSubstr;

BuildOptions profile(std::int64_t min, std::int64_t opt, std::int64_t max) {
  BuildOptions options;
  options.profiles = {{min, opt, max}};
  return options;
}

Engine open_plan(std::int64_t max = 4) {
  const Backend backend = Backend::load("fake");
  const BuildResult built = backend.build(tiny_onnx(), profile(1, 2, max), "", {}, {});
  return backend.open_plan(built.plan, {});
}

/// Runs one request through every entry. A failure leaves the entry's name in the message.
void use_every_entry() {
  const Backend backend = Backend::load("fake");
  const BuildResult built = backend.build(tiny_onnx(), profile(1, 1, 2), "", {}, {});
  const Engine engine = backend.open_plan(built.plan, {});
  Session session = engine.new_session();
  session.staging(1);
  session.run(Tensor::random_normal({1, 3, 32, 32}, 1).view());
  engine.telemetry();
}

TEST_F(BackendTest, AFailureOfEachEntryIsReported) {
  const std::pair<const char*, Stage> entries[] = {
      {"describe", Stage::kBackend}, {"supported", Stage::kBackend}, {"build", Stage::kBuild}, {"open", Stage::kOpen},
      {"io", Stage::kOpen},          {"open_session", Stage::kRun},  {"staging", Stage::kRun}, {"submit", Stage::kRun},
      {"wait", Stage::kRun},         {"telemetry", Stage::kMeasure}};
  EXPECT_NO_THROW(use_every_entry());
  for (const auto& [entry, stage] : entries) {
    environment.set("FERRY_FAKE_FAIL", entry);
    const Error error = error_of(use_every_entry);
    EXPECT_EQ(error.stage(), stage) << entry;
    EXPECT_EQ(error.cause(), std::string("fake failure in ") + entry);
    EXPECT_EQ(error.hint(), "unset FERRY_FAKE_FAIL");
  }
}

TEST_F(BackendTest, ASessionGoesOnAfterAFailure) {
  Session session = open_plan().new_session();
  const Tensor input = Tensor::random_normal({1, 3, 32, 32}, 1);
  environment.set("FERRY_FAKE_FAIL", "wait");
  EXPECT_THROW(session.run(input.view()), Error);
  environment.set("FERRY_FAKE_FAIL", "");
  EXPECT_NO_THROW(session.run(input.view()));
}

TEST_F(BackendTest, InfoComesFromTheModule) {
  environment.set("FERRY_FAKE_GPU", "Fake RTX,8.9,580.1");
  environment.set("FERRY_FAKE_VERSION", "3.2.1");
  const Engine engine = open_plan(4);
  const EngineInfo& info = engine.info();
  EXPECT_EQ(info.backend, "fake");
  EXPECT_EQ(info.backend_display_name, "Fake engine");
  EXPECT_EQ(info.sdk_version, "3.2.1");
  EXPECT_EQ(info.device.kind, "gpu");
  EXPECT_EQ(info.device.compute_capability, "8.9");
  EXPECT_EQ(info.max_batch, 4);
  ASSERT_EQ(info.inputs.size(), 1u);
  EXPECT_EQ(info.inputs[0].shape, (Shape{-1, 3, 32, 32}));
  EXPECT_EQ(info.outputs[0].shape, (Shape{-1, 10}));
  EXPECT_THAT(info.precision_proof_json, HasSubstr("Float"));
}

TEST_F(BackendTest, WrongRequestsShowGivenAgainstAllowed) {
  Session session = open_plan(4).new_session();
  const auto cause = [&](const Tensor& input) { return error_of([&] { session.run(input.view()); }).cause(); };
  EXPECT_THAT(cause(Tensor::zeros(DType::kFloat32, {5, 3, 32, 32})), AllOf(HasSubstr("5"), HasSubstr("1 to 4")));
  EXPECT_THAT(cause(Tensor::zeros(DType::kFloat32, {0, 3, 32, 32})), AllOf(HasSubstr("0"), HasSubstr("1 to 4")));
  EXPECT_THAT(cause(Tensor::zeros(DType::kFloat32, {1, 3, 32, 33})),
              AllOf(HasSubstr("1x3x32x33"), HasSubstr("Nx3x32x32")));
  EXPECT_THAT(cause(Tensor::zeros(DType::kFloat32, {3, 32, 32})), HasSubstr("Nx3x32x32"));
  EXPECT_THAT(cause(Tensor::zeros(DType::kFloat16, {1, 3, 32, 32})), AllOf(HasSubstr("float16"), HasSubstr("float32")));
  EXPECT_THROW(session.run(std::vector<TensorView>{}), Error);
  EXPECT_THAT(error_of([&] { session.staging(5); }).cause(), HasSubstr("1 to 4"));
  EXPECT_THAT(error_of([&] { session.submit(1, {}, {}, true); }).cause(), HasSubstr("no resident mode"));
}

TEST_F(BackendTest, AProfileHoldsEachLayerAgainstItsFloor) {
  Session session = open_plan(4).new_session();
  const auto profile = session.profile(2, 7);
  ASSERT_TRUE(profile);
  EXPECT_EQ(profile->batch, 2);
  EXPECT_EQ(profile->runs, 7);
  ASSERT_EQ(profile->layers.size(), 2u);
  const double bytes = 4.0 * 2 * (3 * 32 * 32 + 10);
  EXPECT_EQ(profile->layers[0].kernel, "weighted_means");
  EXPECT_EQ(profile->layers[0].bytes, bytes);
  EXPECT_NEAR(profile->layers[0].floor_ms, bytes / 1e9 * 1000, 1e-12);
  EXPECT_NEAR(profile->floor_ms() / profile->total_ms(), 0.5, 1e-9);
  EXPECT_TRUE(std::isnan(profile->layers[1].floor_ms)) << "nothing is known of it";
  EXPECT_THROW(session.profile(5), Error);
  environment.set("FERRY_FAKE_FAIL", "profile");
  EXPECT_EQ(error_of([&] { session.profile(2); }).stage(), Stage::kMeasure);
}

TEST_F(BackendTest, ProfilesLeaveGapsThatAreRefused) {
  const Backend backend = Backend::load("fake");
  BuildOptions options;
  options.profiles = {{1, 1, 1}, {8, 8, 16}};
  Session session = backend.open_plan(backend.build(tiny_onnx(), options, "", {}, {}).plan, {}).new_session();
  EXPECT_NO_THROW(session.run(Tensor::zeros(DType::kFloat32, {9, 3, 32, 32}).view()));
  const Error error = error_of([&] { session.run(Tensor::zeros(DType::kFloat32, {2, 3, 32, 32}).view()); });
  EXPECT_THAT(error.cause(), HasSubstr("1 to 1, 8 to 16"));
}

TEST_F(BackendTest, UnalignedInputsGiveTheSameAnswer) {
  Session session = open_plan().new_session();
  const Tensor input = Tensor::random_normal({1, 3, 32, 32}, 3);
  std::vector<std::byte> shifted(input.size_bytes() + 1);
  std::copy_n(input.data(), input.size_bytes(), shifted.data() + 1);
  const Tensor expected = session.run(input.view());
  const Tensor output = session.run(TensorView{DType::kFloat32, {1, 3, 32, 32}, shifted.data() + 1});
  EXPECT_TRUE(std::equal(expected.floats().begin(), expected.floats().end(), output.floats().begin()));
}

TEST_F(BackendTest, ACancelledBuildIsAnInterruption) {
  environment.set("FERRY_FAKE_MODE", "slow_build");
  const Backend backend = Backend::load("fake");
  int steps = 0;
  const auto stop = [&](const std::string&, std::int64_t, std::int64_t) { return ++steps < 3; };
  const Error error = error_of([&] { backend.build(tiny_onnx(), profile(1, 1, 1), "", stop, {}); });
  EXPECT_EQ(error.stage(), Stage::kInterrupted);
  EXPECT_EQ(steps, 3);
}

TEST_F(BackendTest, AnExceptionInProgressComesOutAsItself) {
  const Backend backend = Backend::load("fake");
  const auto fail = [](const std::string&, std::int64_t, std::int64_t) -> bool { throw std::out_of_range("mine"); };
  EXPECT_THROW(backend.build(tiny_onnx(), profile(1, 1, 1), "", fail, {}), std::out_of_range);
}

TEST_F(BackendTest, SuccessWithoutAPlanIsAFailure) {
  environment.set("FERRY_FAKE_MODE", "empty_plan");
  EXPECT_THAT(error_of([] { open_plan(); }).cause(), HasSubstr("wrote no plan"));
}

TEST_F(BackendTest, LogLinesArrive) {
  std::string text;
  const auto log = [&](int severity, const std::string& line) { text += std::to_string(severity) + line; };
  Backend::load("fake").build(tiny_onnx(), profile(1, 1, 1), "", {}, log);
  EXPECT_THAT(text, HasSubstr("2the fake build begins"));
}

TEST_F(BackendTest, WhatAModuleDoesNotOpenIsRefusedByName) {
  const ResNet none;
  const Error error = error_of([&] { Backend::load("fake").open_weights(none, {}); });
  EXPECT_THAT(error.cause(), HasSubstr("opens plan and onnx, not weights"));
}

TEST_F(BackendTest, SessionsKeepTheirEngineAlive) {
  Session session = [] { return open_plan().new_session(); }();
  EXPECT_NO_THROW(session.run(Tensor::zeros(DType::kFloat32, {1, 3, 32, 32}).view()));
}

}  // namespace
}  // namespace ferry
