#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/open_model.h"
#include "fixture.h"

namespace ferry {
namespace {

using testing::HasSubstr;

class OpenEngine : public EngineFiles {
 protected:
  void SetUp() override {
    EngineFiles::SetUp();
    plan_ = path("my model.plan");
  }
  void build(const std::string& gpu = {}) {
    if (!gpu.empty()) set("FERRY_FAKE_GPU", gpu);
    build_engine(request(plan_));
  }
  void change(const std::function<void(nlohmann::json&)>& edit) {
    nlohmann::json j = nlohmann::json::parse(slurp(sidecar_path(plan_)));
    edit(j);
    std::ofstream(sidecar_path(plan_), std::ios::trunc) << j.dump();
  }
  // Refused at stage open, about this plan, with a command that rebuilds it.
  void expect_refused(const std::string& cause, bool with_command = true) {
    const Error error = error_of([&] { open_engine(plan_); });
    EXPECT_EQ(error.stage(), Stage::kOpen);
    EXPECT_EQ(error.subject(), plan_);
    EXPECT_THAT(error.cause(), HasSubstr(cause));
    const std::string command = "`ferry build '" + onnx_ + "' -o '" + plan_ + "' --backend fake --batch 1:8:";
    EXPECT_THAT(error.hint(), HasSubstr(with_command ? command : ""));
  }
  std::string plan_;
};

TEST_F(OpenEngine, RunsWhatWasBuilt) {
  build();
  const Engine engine = open_engine(plan_);
  const Tensor input = Tensor::random_normal({3, 3, 32, 32}, 5);
  EXPECT_EQ(engine.new_session().run(input.view()).shape(), (Shape{3, 10}));
  EXPECT_EQ(Engine::open(plan_).info().backend, "fake");
}

TEST_F(OpenEngine, AProbeThatPassedIsNotAskedAgainUnlessSomethingChanged) {
  build("Fake 4060,8.9,580");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // a file that just changed is not remembered
  std::vector<std::string> lines;
  const Log log = [&](int, const std::string& line) { lines.push_back(line); };
  open_engine(plan_, {}, log);
  set("FERRY_FAKE_MODE", "zeros");
  open_engine(plan_, {}, log);
  EXPECT_THAT(lines, testing::Contains(HasSubstr("no probe: this plan answered it")));
  EXPECT_THAT(lines, testing::Contains(HasSubstr("its hash is remembered")));
  OpenOptions asking;
  asking.always_probe = true;
  EXPECT_THAT(error_of([&] { open_engine(plan_, asking); }).cause(), HasSubstr("zeros"));
  set("FERRY_FAKE_GPU", "Fake 4060,8.9,581");
  expect_refused("zeros");
  set("FERRY_FAKE_GPU", "Fake 4060,8.9,580");
  open_engine(plan_);
  change([](nlohmann::json& j) { j["probe"]["tolerance"] = 0.5; });
  expect_refused("zeros");
}

TEST_F(OpenEngine, APlanBuiltForItKeepsAsManyWeightsOnTheDeviceAsItIsTold) {
  BuildRequest r = request(plan_);
  r.options.weight_streaming = true;
  build_engine(r);
  const EngineInfo all = open_engine(plan_).info();
  ASSERT_TRUE(all.weight_streaming);
  EXPECT_GT(all.weight_streaming->streamable, 1000);
  EXPECT_EQ(all.weight_streaming->budget, all.weight_streaming->streamable);
  OpenOptions some;
  some.weight_budget_bytes = 1000;
  const EngineInfo less = open_engine(plan_, some).info();
  EXPECT_EQ(less.weight_streaming->budget, 1000);
  EXPECT_EQ(less.weight_streaming->streamable, all.weight_streaming->streamable);
  std::ofstream(plan_, std::ios::app) << " ";
  EXPECT_THAT(error_of([&] { open_engine(plan_); }).hint(), HasSubstr(" --weight-streaming`"));
}

TEST_F(OpenEngine, ABudgetForWeightsThatCannotStreamIsRefused) {
  build();
  EXPECT_FALSE(open_engine(plan_).info().weight_streaming);
  OpenOptions some;
  some.weight_budget_bytes = 1000;
  const Error error = error_of([&] { open_engine(plan_, some); });
  EXPECT_EQ(error.subject(), plan_);
  EXPECT_THAT(error.cause(), HasSubstr("keep all its weights on the device"));
  EXPECT_THAT(error.hint(), HasSubstr("--weight-streaming"));
}

TEST_F(OpenEngine, AnotherBudgetAsksTheProbeAgain) {
  BuildRequest r = request(plan_);
  r.options.weight_streaming = true;
  build_engine(r);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // a file that just changed is not remembered
  open_engine(plan_);
  set("FERRY_FAKE_MODE", "zeros");
  EXPECT_NO_THROW(open_engine(plan_));
  OpenOptions some;
  some.weight_budget_bytes = 0;
  EXPECT_THAT(error_of([&] { open_engine(plan_, some); }).cause(), HasSubstr("zeros"));
}

TEST_F(OpenEngine, AnotherGpuIsRefusedAndBothAreNamed) {
  build("Fake 4060,8.9,580");
  open_engine(plan_);
  set("FERRY_FAKE_GPU", "Fake H100,9.0,580");
  expect_refused("built for compute capability 8.9 (Fake 4060); Fake H100 has 9.0");
}

TEST_F(OpenEngine, AnEngineForSeveralTargetsOpensOnEachOfThem) {
  BuildRequest r = request(plan_);
  r.options.target = "8.6,8.9";
  build_engine(r);
  set("FERRY_FAKE_GPU", "Fake 4060,8.9,580");
  open_engine(plan_);
  set("FERRY_FAKE_GPU", "Fake 3060,8.6,580");
  open_engine(plan_);
  set("FERRY_FAKE_GPU", "Fake T4,7.5,580");
  expect_refused("built for compute capability 8.6,8.9; Fake T4 has 7.5");
}

TEST_F(OpenEngine, NoGpuIsRefused) {
  build("Fake 4060,8.9,580");
  ::unsetenv("FERRY_FAKE_GPU");
  const Error error = error_of([&] { open_engine(plan_); });
  EXPECT_EQ(error.stage(), Stage::kOpen);
  EXPECT_THAT(error.cause(), HasSubstr("compute capability 8.9"));
}

TEST_F(OpenEngine, AnotherSdkVersionIsRefused) {
  build();
  set("FERRY_FAKE_VERSION", "1.0.1");
  expect_refused("built with Fake engine 1.0.0; here is 1.0.1");
}

TEST_F(OpenEngine, AChangedPlanIsRefused) {
  build();
  std::ofstream(plan_, std::ios::app) << " ";
  expect_refused("SHA-256 differs");
}

TEST_F(OpenEngine, AChangedOnnxIsRefusedAMovedOneIsNot) {
  build();
  std::filesystem::rename(onnx_, path("elsewhere.onnx"));
  open_engine(plan_);
  export_tiny(onnx_, 2);
  expect_refused("'" + onnx_ + "' has changed");
  std::filesystem::remove(onnx_);
  open_engine(plan_);
}

TEST_F(OpenEngine, NaNZerosAndAnotherNetworksAnswersAreRefused) {
  build();
  set("FERRY_FAKE_MODE", "nan");
  expect_refused("NaN or Inf");
  set("FERRY_FAKE_MODE", "zeros");
  expect_refused("zeros only");
  set("FERRY_FAKE_MODE", "other_network");
  expect_refused("something else than the built engine itself: relative error");
}

TEST_F(OpenEngine, OutputsThatWereNeverWrittenAreRefused) {
  build();
  set("FERRY_FAKE_MODE", "unwritten");
  const Error error = error_of([&] { open_engine(plan_); });
  EXPECT_EQ(error.stage(), Stage::kOpen);
}

TEST_F(OpenEngine, WithoutAnExpectedAnswerNaNAndZerosAreStillFound) {
  build();
  change([](nlohmann::json& j) { j["probe"]["expected"] = nlohmann::json::array(); });
  open_engine(plan_);
  set("FERRY_FAKE_MODE", "zeros");
  expect_refused("zeros only");
  change([](nlohmann::json& j) { j["probe"] = nullptr; });
  set("FERRY_FAKE_MODE", "nan");
  expect_refused("NaN or Inf");
}

TEST_F(OpenEngine, ADuePrecisionProofIsGivenAtTheFirstOpen) {
  export_tiny(onnx_, 1, Precision::kFp16);
  build();
  change([](nlohmann::json& j) { j["precision_proof_due"] = true; });
  open_engine(plan_);
  set("FERRY_FAKE_MODE", "float_engine");
  const Error error = error_of([&] { open_engine(plan_); });
  EXPECT_THAT(error.cause(), HasSubstr("the graph asks for fp16"));
  EXPECT_EQ(error.subject(), plan_);
  EXPECT_EQ(error.stage(), Stage::kOpen);
}

TEST_F(OpenEngine, AForeignPlanAndADamagedSidecarAreRefusedWithHowToAdopt) {
  std::ofstream(plan_) << "made by another tool";
  const Error foreign = error_of([&] { open_engine(plan_); });
  EXPECT_EQ(foreign.stage(), Stage::kOpen);
  EXPECT_THAT(foreign.cause(), HasSubstr("has no sidecar"));
  EXPECT_THAT(foreign.hint(), HasSubstr("ferry build MODEL.onnx -o"));
  build();
  std::ofstream(sidecar_path(plan_), std::ios::trunc) << "{\"format\":\"ferry engine\"";
  EXPECT_THAT(error_of([&] { open_engine(plan_); }).cause(), HasSubstr("not a usable sidecar"));
}

TEST_F(OpenEngine, AnUnknownBackendOneWithoutItsLibraryAndAMissingFileAreNamed) {
  build();
  set("FERRY_FAKE_MODE", "no_library");
  expect_refused("the fake SDK is missing", false);
  ::unsetenv("FERRY_FAKE_MODE");
  change([](nlohmann::json& j) { j["backend"] = "nonsense"; });
  expect_refused("needs the backend nonsense", false);
  plan_ = path("missing.plan");
  expect_refused("no such file", false);
}

TEST_F(OpenEngine, EveryFailingEntryIsNamedAndTheFilesStay) {
  build();
  const std::string bytes = slurp(plan_), text = slurp(sidecar_path(plan_));
  for (const std::string entry : {"describe", "supported", "open", "io", "open_session", "submit", "wait"}) {
    set("FERRY_FAKE_FAIL", entry);
    const Error error = error_of([&] { open_engine(plan_); });
    EXPECT_EQ(error.stage(), Stage::kOpen) << entry;
    EXPECT_EQ(error.subject(), plan_) << entry;
    EXPECT_THAT(error.cause(), HasSubstr("fake failure in " + entry));
  }
  EXPECT_EQ(slurp(plan_), bytes);
  EXPECT_EQ(slurp(sidecar_path(plan_)), text);
}

TEST_F(OpenEngine, EveryTruncationOfThePlanIsRefusedBeforeTheSdkSeesIt) {
  build();
  const std::string whole = slurp(plan_);
  set("FERRY_FAKE_FAIL", "open");  // would name itself if it were reached
  for (std::size_t size = 0; size < whole.size(); size += 1 + whole.size() / 20) {
    std::ofstream(plan_, std::ios::trunc | std::ios::binary) << whole.substr(0, size);
    expect_refused("SHA-256 differs");
  }
}

TEST(KindOf, GoesByNameSidecarAndContent) {
  const std::string folder =
      (std::filesystem::temp_directory_path() / ("ferry-kinds-" + std::to_string(::getpid()))).string();
  std::filesystem::create_directories(folder);
  const auto kind = [&](const std::string& name, const std::string& content) {
    std::ofstream(folder + "/" + name, std::ios::binary) << content;
    return kind_of(folder + "/" + name);
  };
  EXPECT_EQ(kind("a.onnx", ""), FileKind::kOnnx);
  EXPECT_EQ(kind("a.PTH", ""), FileKind::kCheckpoint);
  EXPECT_EQ(kind("a.safetensors", ""), FileKind::kCheckpoint);
  EXPECT_EQ(kind("a.plan", "PK\x03\x04"), FileKind::kPlan);
  EXPECT_EQ(kind("zip", "PK\x03\x04"), FileKind::kCheckpoint);
  EXPECT_EQ(kind("tensors", std::string("\x10\0\0\0\0\0\0\0{", 9)), FileKind::kCheckpoint);
  EXPECT_EQ(kind("junk", "?"), FileKind::kPlan);  // which will be refused
  kind("zip.json", "{}");
  EXPECT_EQ(kind("zip", "PK\x03\x04"), FileKind::kPlan);  // it has a sidecar
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace ferry
