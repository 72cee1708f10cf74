// TensorRT for RTX through the C interface on a machine without a GPU: engines for other machines are built for real.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "gpu/module.h"
#include "gpu/tiny_net.h"

namespace ferry::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

class AheadOfTime : public ::testing::Test {
 protected:
  void SetUp() override {
    module_ = Module::load("tensorrt_rtx", FERRY_MODULES);
    if (module_ == nullptr) GTEST_SKIP() << "the module tensorrt_rtx is not built (its headers were not found)";
    const Json here = Json::parse(module_->supported());
    if (!here["can_build"].get<bool>()) GTEST_SKIP() << "cannot build here: " << here["reason"];
  }

  ModuleError refusal(const BuildInput& input) {
    try {
      module_->build(input, output_);
    } catch (const ModuleError& error) {
      EXPECT_EQ(output_.plan, "") << "nothing may be written when a build fails";
      EXPECT_EQ(output_.report, "");
      return error;
    }
    ADD_FAILURE() << "the build went through";
    return ModuleError(FERRY_OK, {"", "", ""});
  }

  const TinyNet net_{1};
  std::unique_ptr<Module> module_;
  BuildOutput output_;
};

constexpr const char* kFor4060 = R"({"target":"8.9","profiles":[{"min":1,"opt":4,"max":16}]})";

TEST_F(AheadOfTime, BuildsForAnRtx4060) {
  const BuildOutput built = module_->build({net_.onnx("fp16"), kFor4060});
  EXPECT_EQ(built.plan.substr(0, 4), "vtrt");
  const Json report = Json::parse(built.report);
  EXPECT_EQ(report["compute_capability"], "8.9");
  EXPECT_EQ(report["sdk"], "TensorRT for RTX");
  EXPECT_EQ(report["profiles"], Json::parse(R"([{"min":1,"opt":4,"max":16}])"));
  EXPECT_TRUE(report["gpu"].is_null());
  EXPECT_TRUE(report["precision_proof"].is_null()) << "nobody has opened it yet";
  EXPECT_THAT(report["precision_proof_note"].get<std::string>(), HasSubstr("first open"));
  EXPECT_EQ(report["graph_precision"], Json::parse(R"({"layers":4,"by_type":{"Half":4}})"));
  EXPECT_GT(report["seconds"].get<double>(), 0);
}

TEST_F(AheadOfTime, CountsWhatEachPrecisionAsksFor) {
  for (const auto& [precision, type] : {std::pair{"fp32", "Float"}, {"fp16", "Half"}, {"int8", "Int8"}}) {
    const Json report = Json::parse(module_->build({net_.onnx(precision), kFor4060}).report);
    EXPECT_EQ(report["graph_precision"]["by_type"][type], 4) << precision;
  }
}

TEST_F(AheadOfTime, ReportsOneBarThatNeverFalls) {
  const BuildOutput built = module_->build({net_.onnx("fp32"), kFor4060});
  ASSERT_GT(built.progress.size(), 3u);
  EXPECT_TRUE(std::is_sorted(built.progress.begin(), built.progress.end()));
  EXPECT_EQ(built.progress.back(), 1000);
  EXPECT_GT(std::set(built.progress.begin(), built.progress.end()).size(), 3u) << "a bar that jumps says nothing";
}

TEST_F(AheadOfTime, BuildsOneEngineForSeveralGenerations) {
  const BuildOutput built = module_->build({net_.onnx("fp16"), R"({"target":"7.5,8.6,8.9,12.0"})"});
  EXPECT_EQ(Json::parse(built.report)["compute_capability"], "7.5,8.6,8.9,12.0");
}

TEST_F(AheadOfTime, BuildsSeveralProfilesWithAllOptions) {
  const BuildOutput built =
      module_->build({net_.onnx("fp32"),
                      R"({"target":"8.9","profiles":[{"min":1,"opt":1,"max":1},{"min":2,"opt":8,"max":32}],"tf32":true,
           "optimization_level":2,"workspace_bytes":268435456,"device":0,"aux_streams":1,"timing_runs":2})"});
  EXPECT_EQ(Json::parse(built.report)["profiles"].size(), 2u);
  EXPECT_EQ(Json::parse(built.report)["workspace_bytes"], 268435456);
}

TEST_F(AheadOfTime, AFixedBatchNeedsThatBatch) {
  const std::string onnx = net_.onnx("fp32", 4);
  EXPECT_NO_THROW(module_->build({onnx, R"({"target":"8.9","profiles":[{"min":4,"opt":4,"max":4}]})"}));
  EXPECT_THAT(refusal({onnx, kFor4060}).what(), AllOf(HasSubstr("fixed batch size 4"), HasSubstr("1..16")));
}

TEST_F(AheadOfTime, CancelsAtTheStartAndInTheMiddle) {
  for (const int stop_after : {0, 1, 12}) {
    BuildInput input{net_.onnx("fp16"), kFor4060};
    int reports = 0;
    input.go_on = [&](std::int64_t) { return reports++ < stop_after; };
    EXPECT_EQ(refusal(input).status, FERRY_CANCELLED) << stop_after;
  }
}

TEST_F(AheadOfTime, RefusesGpusThatTheSdkDoesNotSupportAndListsThose) {
  for (const char* target : {"9.0", "10.0", "6.1", "8.7"}) {
    const ModuleError error = refusal({net_.onnx("fp16"), std::string(R"({"target":")") + target + "\"}"});
    EXPECT_EQ(error.status, FERRY_UNSUPPORTED);
    EXPECT_THAT(error.cause, AllOf(HasSubstr(target), HasSubstr("7.5, 8.0, 8.6, 8.9, 12.0, 12.1")));
    EXPECT_THAT(error.hint, HasSubstr("full TensorRT"));
  }
  EXPECT_THAT(refusal({net_.onnx("fp16"), R"({"target":"ada"})"}).what(), HasSubstr("not a compute capability"));
  EXPECT_THAT(refusal({net_.onnx("fp16"), "{}"}).hint, HasSubstr("--target 8.9"));
}

TEST_F(AheadOfTime, SaysWhatIsWrongWithAnOnnxFile) {
  EXPECT_THAT(refusal({"not a model", kFor4060}).what(), HasSubstr("cannot parse the ONNX model"));
  EXPECT_THAT(refusal({"", kFor4060}).cause, HasSubstr("empty"));
  std::string truncated = net_.onnx("fp32");
  truncated.resize(truncated.size() / 2);
  EXPECT_NE(refusal({truncated, kFor4060}).cause, "");
  std::string unknown = net_.onnx("fp32");
  unknown.replace(unknown.find("GlobalAveragePool"), 17, "GlobalAveragePoof");
  EXPECT_THAT(refusal({unknown, kFor4060}).what(), HasSubstr("GlobalAveragePoof"));
}

TEST_F(AheadOfTime, AnUnknownOptionIsNamed) {
  EXPECT_THAT(refusal({net_.onnx("fp16"), R"({"target":"8.9","fp16":true})"}).what(), HasSubstr("'fp16'"));
}

TEST_F(AheadOfTime, StreamedWeightsAreRefusedBecauseItsSdkCannot) {
  const ModuleError error = refusal({net_.onnx("fp16"), R"({"target":"8.9","weight_streaming":true})"});
  EXPECT_EQ(error.status, FERRY_UNSUPPORTED);
  EXPECT_EQ(error.subject, "weight_streaming");
  EXPECT_THAT(error.hint, HasSubstr("backend tensorrt"));
  EXPECT_NO_THROW(module_->build({net_.onnx("fp16"), R"({"target":"8.9","weight_streaming":false})"}));
}

TEST_F(AheadOfTime, AnUnknownSourceOfKernelsShowsTheKnownOnes) {
  const ModuleError error = refusal({net_.onnx("fp16"), R"({"target":"8.9","tactics":["magic"]})"});
  EXPECT_THAT(error.what(), HasSubstr("'magic'"));
  EXPECT_THAT(error.hint, HasSubstr("jit_convolutions"));
}

TEST_F(AheadOfTime, AFullDiskFailsTheBuild) {
  BuildInput input{net_.onnx("fp16"), kFor4060};
  input.disk_full = true;
  EXPECT_THAT(refusal(input).what(), HasSubstr("could not take the plan"));
}

TEST_F(AheadOfTime, AStrangePlanIsRefusedByItsHeader) {
  const auto refused = [&](const std::string& plan) {
    try {
      OpenedEngine engine(*module_, plan);
    } catch (const ModuleError& error) {
      return std::string(error.what());
    }
    return std::string("opened");
  };
  const std::string plan = module_->build({net_.onnx("fp16"), kFor4060}).plan;
  EXPECT_THAT(refused(""), HasSubstr("empty"));
  EXPECT_THAT(refused("some text"), HasSubstr("not a plan of TensorRT for RTX"));
  EXPECT_THAT(refused(plan.substr(0, plan.size() - 1)), HasSubstr("damaged"));
  EXPECT_THAT(refused(plan.substr(0, 20)), HasSubstr("less than a header"));
  std::string older = plan;
  older[0x19] = 3;
  EXPECT_THAT(refused(older), AllOf(HasSubstr("TensorRT for RTX 1.3."), HasSubstr("this machine has 1.7.")));
  EXPECT_THAT(refused(plan), HasSubstr("GPU")) << "a good plan needs a GPU, and there is none in this test";
}

}  // namespace
}  // namespace ferry::testing
