// The TensorRT modules on a real GPU: right answers in every precision, batch and mode, and clear refusals.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "gpu/gpu_fixture.h"

namespace ferry::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

class Precision : public Gpu, public ::testing::WithParamInterface<const char*> {};

TEST_P(Precision, EveryBatchMatchesTheReference) {
  const OpenedEngine engine(*module(), built(GetParam()).plan);
  OpenedSession session(engine);
  for (std::int64_t batch = 1; batch <= kMax; ++batch) {
    for (std::uint32_t repeat = 0; repeat < 3; ++repeat) {  // plain, captured, replayed
      const auto count = static_cast<std::size_t>(batch);
      const auto images = TinyNet::images(count, 100 * repeat + static_cast<std::uint32_t>(batch));
      const auto expected = net().answer(images, count);
      const double error = relative_error(session.run(images, batch, count * kClasses), expected);
      EXPECT_LE(error, tolerance(GetParam())) << "batch " << batch << ", repeat " << repeat;
    }
  }
  for (const std::string& warning : engine.warnings) EXPECT_THAT(warning, Not(HasSubstr("CUDA graph not used")));
}

TEST_P(Precision, TheProofShowsWhatTheGraphAsksFor) {
  const std::string type = std::string(GetParam()) == "fp32"   ? "Float"
                           : std::string(GetParam()) == "fp16" ? "Half"
                                                               : "Int8";
  const Json report = Json::parse(built(GetParam()).report);
  ASSERT_FALSE(report["precision_proof"].is_null()) << report;
  const int layers = report["precision_proof"]["layers"], typed = report["precision_proof"]["by_type"].value(type, 0);
  // An INT8 engine may keep its small classifier in another type; the three convolutions are the point.
  EXPECT_GE(typed, type == "Int8" ? 3 : layers) << report;
  EXPECT_GT(layers, 0);
  const Json io = Json::parse(OpenedEngine(*module(), built(GetParam()).plan).io());
  EXPECT_EQ(io["precision_proof"], report["precision_proof"]);
}

TEST_P(Precision, StagedResidentAndPlainRunsAgreeBitForBit) {
  const OpenedEngine with(*module(), built(GetParam()).plan);
  const OpenedEngine without(*module(), built(GetParam()).plan, R"({"graphs":false})");
  OpenedSession graphs(with), plain(without);
  const auto images = TinyNet::images(5, 5);
  const auto expected = plain.run(images, 5, 5 * kClasses);
  for (int repeat = 0; repeat < 3; ++repeat) {
    EXPECT_EQ(plain.run(images, 5, 5 * kClasses), expected);
    EXPECT_EQ(graphs.run(images, 5, 5 * kClasses), expected);
    EXPECT_EQ(graphs.run_staged(images, 5, 5 * kClasses), expected);
    EXPECT_EQ(graphs.run_resident(5, 5 * kClasses), expected);
    EXPECT_EQ(plain.run_resident(5, 5 * kClasses), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Precision, ::testing::Values("fp32", "fp16", "int8"),
                         [](const auto& precision) { return std::string(precision.param); });

TEST_F(Gpu, BatchesAboveTheProfileAreRefusedAndTheSessionGoesOn) {
  const OpenedEngine engine(*module(), built("fp16").plan);
  OpenedSession session(engine);
  for (const std::int64_t batch : {kMax + 1, std::int64_t{0}}) {
    try {
      session.run(TinyNet::images(static_cast<std::size_t>(kMax) + 1, 1), batch, (kMax + 1) * kClasses);
      ADD_FAILURE() << "batch " << batch << " was taken";
    } catch (const ModuleError& error) {
      EXPECT_THAT(error.cause, AllOf(HasSubstr("1..16"), HasSubstr("given " + std::to_string(batch))));
    }
  }
  const auto images = TinyNet::images(2, 1);
  EXPECT_LE(relative_error(session.run(images, 2, 2 * kClasses), net().answer(images, 2)), tolerance("fp16"));
}

TEST_F(Gpu, TimesAreThereInBothModes) {
  const OpenedEngine engine(*module(), built("fp16").plan);
  OpenedSession session(engine);
  const auto images = TinyNet::images(4, 1);
  ferry_times times{};
  for (int repeat = 0; repeat < 3; ++repeat) {
    session.run_staged(images, 4, 4 * kClasses, &times);
    EXPECT_GT(times.h2d_ms, 0);
    EXPECT_GT(times.compute_ms, 0);
    EXPECT_GT(times.d2h_ms, 0);
    EXPECT_LT(times.h2d_ms + times.compute_ms + times.d2h_ms, 1000);
  }
  session.run_resident(4, 4 * kClasses, &times);
  EXPECT_EQ(times.h2d_ms, 0);
  EXPECT_GT(times.compute_ms, 0);
}

TEST_F(Gpu, SeveralProfilesServeTheirOwnBatches) {
  const std::string options =
      R"({"profiles":[{"min":1,"opt":1,"max":1},{"min":1,"opt":8,"max":8},{"min":1,"opt":16,"max":16}]})";
  const OpenedEngine engine(*module(), module()->build({net().onnx("fp16"), options}).plan);
  EXPECT_EQ(Json::parse(engine.io())["profiles"].size(), 3u);
  OpenedSession session(engine);
  for (int repeat = 0; repeat < 3; ++repeat) {
    for (const std::size_t batch : {1u, 3u, 8u, 9u, 16u}) {
      const auto images = TinyNet::images(batch, static_cast<std::uint32_t>(batch));
      const auto out = session.run(images, static_cast<std::int64_t>(batch), batch * kClasses);
      EXPECT_LE(relative_error(out, net().answer(images, batch)), tolerance("fp16")) << batch;
    }
  }
}

TEST_F(Gpu, StreamedWeightsGiveTheSameBitsWithEveryBudget) {
  if (Json::parse(module()->describe())["name"] != "tensorrt") GTEST_SKIP() << "only full TensorRT streams weights";
  const std::string options = "{\"profiles\":[" + profile() + "],\"weight_streaming\":true}";
  const std::string plan = module()->build({net().onnx("fp16"), options}).plan;
  const auto images = TinyNet::images(5, 5);
  std::vector<float> expected;
  for (const char* open : {"{}", R"({"weight_budget_bytes":0})", R"({"weight_budget_bytes":20000})"}) {
    const OpenedEngine engine(*module(), plan, open);
    const Json streaming = Json::parse(engine.io())["weight_streaming"];
    EXPECT_GT(streaming["streamable_bytes"].get<std::int64_t>(), 0);
    EXPECT_LE(streaming["budget_bytes"], streaming["streamable_bytes"]);
    OpenedSession one(engine), other(engine);  // both stream into memory of their own
    if (expected.empty()) expected = one.run(images, 5, 5 * kClasses);
    for (int repeat = 0; repeat < 3; ++repeat) {
      for (OpenedSession* session : {&one, &other}) {
        EXPECT_EQ(session->run(images, 5, 5 * kClasses), expected) << open;
        EXPECT_EQ(session->run_resident(5, 5 * kClasses), expected) << open;
        session->run(TinyNet::images(2, 7), 2, 2 * kClasses);  // another batch, in the same memory
      }
    }
  }
  EXPECT_LE(relative_error(expected, net().answer(images, 5)), tolerance("fp16"));
}

TEST_F(Gpu, ABudgetForWeightsThatCannotStreamIsRefused) {
  try {
    const OpenedEngine engine(*module(), built("fp16").plan, R"({"weight_budget_bytes":0})");
    ADD_FAILURE() << "it was taken";
  } catch (const ModuleError& error) {
    EXPECT_EQ(error.subject, "weight_budget_bytes");
    EXPECT_THAT(error.hint, HasSubstr("--weight-streaming"));
  }
}

TEST_F(Gpu, AFixedBatchModelRuns) {
  const OpenedEngine engine(
      *module(), module()->build({net().onnx("fp32", 4), R"({"profiles":[{"min":4,"opt":4,"max":4}]})"}).plan);
  OpenedSession session(engine);
  const auto images = TinyNet::images(4, 1);
  EXPECT_LE(relative_error(session.run(images, 4, 4 * kClasses), net().answer(images, 4)), tolerance("fp32"));
  EXPECT_THROW(session.run(images, 3, 3 * kClasses), ModuleError);
}

TEST_F(Gpu, FewKeptBatchSizesStillAnswerAll) {
  const OpenedEngine engine(*module(), built("fp16").plan, R"({"batch_limit":2})");
  OpenedSession session(engine);
  for (int round = 0; round < 2; ++round) {
    for (std::size_t batch = 1; batch <= 6; ++batch) {
      for (std::uint32_t repeat = 0; repeat < 2; ++repeat) {
        const auto images = TinyNet::images(batch, repeat);
        const auto out = session.run(images, static_cast<std::int64_t>(batch), batch * kClasses);
        EXPECT_LE(relative_error(out, net().answer(images, batch)), tolerance("fp16")) << batch;
      }
    }
  }
}

TEST_F(Gpu, CancellingABuildStopsItAndWritesNothing) {
  BuildInput input{net().onnx("fp16"), "{\"profiles\":[" + profile() + "]}"};
  int reports = 0;
  input.go_on = [&](std::int64_t) { return ++reports < 20; };
  BuildOutput output;
  try {
    module()->build(input, output);
    ADD_FAILURE() << "the build was not cancelled";
  } catch (const ModuleError& error) {
    EXPECT_EQ(error.status, FERRY_CANCELLED);
  }
  EXPECT_EQ(output.plan, "");
}

TEST_F(Gpu, TheBuildReportsOneBarThatNeverFalls) {
  const auto& progress = built("fp16").progress;
  EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
  EXPECT_EQ(progress.back(), 1000);
}

TEST_F(Gpu, ATimingCacheIsWrittenAndTaken) {
  const BuildOutput first = module()->build({net().onnx("fp32"), "{\"profiles\":[" + profile() + "]}"});
  if (first.timing_cache.empty()) GTEST_SKIP() << "this SDK has no timing cache";
  BuildInput again{net().onnx("fp32"), "{\"profiles\":[" + profile() + "]}", first.timing_cache};
  EXPECT_NO_THROW(module()->build(again));
  again.timing_cache = "junk that is no timing cache";
  const BuildOutput warned = module()->build(again);
  EXPECT_TRUE(std::any_of(warned.log.begin(), warned.log.end(),
                          [](const std::string& line) { return line.find("timing cache") != std::string::npos; }));
}

TEST_F(Gpu, TheWorkspaceIsHeldToFreeMemory) {
  const Json report = Json::parse(
      module()
          ->build({net().onnx("fp32"), "{\"workspace_bytes\":1099511627776,\"profiles\":[" + profile() + "]}"})
          .report);
  const Json device = Json::parse(module()->supported())["devices"][0];
  EXPECT_LE(report["workspace_bytes"].get<double>(), 0.8 * device["memory_bytes"].get<double>());
}

TEST_F(Gpu, DamagedAndForeignPlansAreRefused) {
  const std::string plan = built("fp16").plan;
  for (const std::string& bad : {std::string("x"), plan.substr(0, plan.size() / 2), std::string(1000, 'a')}) {
    try {
      const OpenedEngine engine(*module(), bad);
      ADD_FAILURE() << "a bad plan of " << bad.size() << " bytes was opened";
    } catch (const ModuleError& error) {
      EXPECT_NE(error.cause, "");
      EXPECT_NE(error.hint, "");
    }
  }
}

TEST_F(Gpu, AMissingDeviceIsNamed) {
  try {
    const OpenedEngine engine(*module(), built("fp16").plan, R"({"device":99})");
    ADD_FAILURE();
  } catch (const ModuleError& error) {
    EXPECT_THAT(error.cause, HasSubstr("device 99"));
    EXPECT_EQ(error.status, FERRY_UNSUPPORTED);
  }
}

TEST_F(Gpu, DescribesItselfAndItsEngine) {
  const OpenedEngine engine(*module(), built("fp16").plan, R"({"layer_info":true})");
  const Json io = Json::parse(engine.io());
  EXPECT_EQ(io["inputs"][0]["shape"], Json::parse("[-1,3,32,32]"));
  EXPECT_EQ(io["outputs"][0]["name"], "output");
  EXPECT_EQ(io["max_batch"], kMax);
  EXPECT_EQ(io["device"]["kind"], "gpu");
  EXPECT_GT(io["device_memory_bytes"].get<double>(), 0);
  EXPECT_TRUE(io["layer_info"]["Layers"].is_array());
  ferry_telemetry now{};
  module()->check(module()->api().telemetry(engine.handle(), &now));
  EXPECT_GT(now.memory_total_bytes, 1e9);
  EXPECT_GT(now.sm_clock_mhz, 0);
}

}  // namespace
}  // namespace ferry::testing
