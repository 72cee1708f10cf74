// The small parts of nvinfer that need neither SDK nor driver: options, profiles, progress, proof, headers, search.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "nvinfer/failure.h"
#include "nvinfer/options.h"
#include "nvinfer/plan_header.h"
#include "nvinfer/profiles.h"
#include "nvinfer/progress.h"
#include "nvinfer/proof.h"
#include "nvinfer/search.h"

namespace ferry::nvinfer {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename Call>
std::string cause_of(const Call& call) {
  try {
    call();
  } catch (const Failure& failure) {
    return failure.cause;
  }
  return "no error";
}

TEST(Options, BuildOptionsAreReadAndDefaulted) {
  const BuildOptions none = parse_build_options("{}");
  EXPECT_EQ(none.profiles.size(), 1u);
  EXPECT_FALSE(none.tf32);
  EXPECT_TRUE(none.targets.empty());
  const BuildOptions all = parse_build_options(
      R"({"profiles":[{"min":1,"opt":2,"max":3},{"min":4,"opt":4,"max":4}],"target":"8.6,8.9","workspace_bytes":1024,
          "optimization_level":5,"tf32":true,"device":1,
          "tactics":["jit_convolutions"],"aux_streams":0,"timing_runs":8,"weight_streaming":true})");
  EXPECT_THAT(all.profiles, ElementsAre(Profile{1, 2, 3}, Profile{4, 4, 4}));
  EXPECT_THAT(all.targets, ElementsAre("8.6", "8.9"));
  EXPECT_EQ(all.workspace_bytes, 1024);
  EXPECT_EQ(all.optimization_level, 5);
  EXPECT_TRUE(all.tf32);
  EXPECT_EQ(all.device, 1);
  EXPECT_THAT(all.tactics, ElementsAre("jit_convolutions"));
  EXPECT_EQ(all.aux_streams, 0);
  EXPECT_EQ(all.timing_runs, 8);
  EXPECT_TRUE(all.weight_streaming);
  EXPECT_FALSE(none.weight_streaming);
  EXPECT_FALSE(parse_build_options(R"({"workspace_bytes":null,"target":null})").workspace_bytes);
}

TEST(Options, WrongOnesAreNamed) {
  const std::vector<std::pair<const char*, const char*>> wrong = {
      {R"({"fp16":true})", "'fp16' is unknown"},
      {R"({"optimization_level":6})", "from 0 to 5"},
      {R"({"optimization_level":2.5})", "optimization_level"},
      {R"({"tf32":"yes"})", "true or false"},
      {R"({"profiles":[]})", "profiles"},
      {R"({"profiles":[{"min":4,"opt":2,"max":8}]})", "min <= opt <= max"},
      {R"({"profiles":[{"min":0}]})", "profiles.min"},
      {R"({"profiles":[{"low":1}]})", "profiles.low"},
      {R"({"profiles":[7]})", "profiles"},
      {R"({"workspace_bytes":-1})", "workspace_bytes"},
      {R"({"target":8.9})", "target"},
      {R"({"device":-1})", "device"},
      {R"({"tactics":"jit"})", "a list of names"},
      {R"({"timing_runs":0})", "timing_runs"},
      {R"({"weight_streaming":1})", "true or false"},
      {"[]", "not a JSON object"},
      {"{", "not a JSON object"}};
  for (const auto& [json, cause] : wrong) {
    EXPECT_THAT(cause_of([json = json] { parse_build_options(json); }), HasSubstr(cause)) << json;
  }
  EXPECT_THAT(cause_of([] { parse_open_options(R"({"grahps":true})"); }), HasSubstr("'grahps'"));
  EXPECT_THAT(cause_of([] { parse_open_options(R"({"weight_budget_bytes":-1})"); }), HasSubstr("weight_budget_bytes"));
}

TEST(Options, OpenOptionsAreRead) {
  const OpenOptions options = parse_open_options(
      R"({"device":2,"precision":"fp32","threads":0,"graphs":false,"layer_info":true,"timing":false,"batch_limit":3,
          "weight_budget_bytes":0})");
  EXPECT_EQ(options.device, 2);
  EXPECT_FALSE(options.graphs);
  EXPECT_TRUE(options.layer_info);
  EXPECT_FALSE(options.timing);
  EXPECT_EQ(options.batch_limit, 3u);
  EXPECT_EQ(options.weight_budget_bytes, 0);
  EXPECT_FALSE(parse_open_options("{}").weight_budget_bytes);
  EXPECT_TRUE(parse_open_options(nullptr).graphs);
}

TEST(Profiles, TheTightestIsPicked) {
  const std::vector<Profile> profiles{{1, 16, 64}, {1, 1, 1}, {1, 4, 8}};
  EXPECT_EQ(pick_profile(profiles, 1), 1);
  EXPECT_EQ(pick_profile(profiles, 2), 2);
  EXPECT_EQ(pick_profile(profiles, 9), 0);
  EXPECT_THAT(cause_of([&] { pick_profile(profiles, 65); }), AllOf(HasSubstr("1..64, 1, 1..8"), HasSubstr("given 65")));
  EXPECT_THAT(cause_of([&] { pick_profile({{4, 4, 8}, {16, 16, 32}}, 12); }), HasSubstr("4..8, 16..32"));
}

TEST(Progress, NestedPhasesMakeOneRisingBar) {
  ProgressTree tree;
  std::vector<double> bar;
  const auto note = [&] { bar.push_back(tree.fraction()); };
  tree.start("Building engine", "", 4);
  for (int step = 0; step < 4; ++step) {
    const std::string child = "child " + std::to_string(step);
    tree.start(child, "Building engine", 10);
    for (int i = 0; i < 10; ++i) {
      tree.step(child, i);
      note();
    }
    tree.finish(child);
    tree.step("Building engine", step);
    note();
  }
  EXPECT_TRUE(std::is_sorted(bar.begin(), bar.end()));
  EXPECT_NEAR(bar[4], 0.125, 1e-9);
  EXPECT_NEAR(bar[10], 0.25, 1e-9);
  EXPECT_GT(bar.back(), 0.99);
  EXPECT_LT(bar.back(), 1.0) << "1 is for the caller, when the plan is safe";
}

TEST(Progress, OddReportsNeverMakeItFallOrLoop) {
  ProgressTree tree;
  tree.step("never started", 3);
  tree.finish("never started");
  tree.start("a", "b", 0);  // a parent that does not exist yet, no steps
  tree.start("b", "a", 2);  // and a circle
  tree.step("b", 7);
  tree.step("a", 0);
  tree.start("root", "", 2);
  tree.step("root", 1);
  const double before = tree.fraction();
  tree.start("root", "", 10);
  tree.step("root", 0);
  EXPECT_GE(tree.fraction(), before);
  tree.finish("a");
  EXPECT_EQ(tree.current(), "root");
}

constexpr const char* kLayers = R"({"Layers":[
 {"Name":"Reformatting CopyNode","LayerType":"Reformat","Inputs":[{"Format/Datatype":"Float"}],"Outputs":[{"Format/Datatype":"Half"}]},
 {"Name":"conv1","LayerType":"CaskConvolution","ParameterType":"Convolution","Inputs":[{"Name":"x","Format/Datatype":"Half"}],
  "Outputs":[{"Format/Datatype":"Half"}],"Weights":{"Type":"Half","Count":9408}},
 {"Name":"conv2","LayerType":"CaskConvolution","Inputs":[{"Format/Datatype":"Thirty-two wide channel vectorized row major Int8 format"}],
  "Outputs":[{"Format/Datatype":"Channel major FP16 format where channel % 8 == 0"}],"Weights":{"Type":"Int8","Count":4096}},
 {"Name":"pool","LayerType":"CaskPooling","Inputs":[{"Format/Datatype":"Half"}],"Outputs":[{"Format/Datatype":"Half"}]},
 {"Name":"/fc/Gemm_myl0_2","LayerType":"gemm","Inputs":[{"Format/Datatype":"BFloat16"}],"Outputs":[{"Format/Datatype":"Half"}]},
 {"Name":"bias","LayerType":"Constant","Inputs":[],"Outputs":[{"Format/Datatype":"Float"}],"Weights":{"Type":"Float","Count":0}}],
 "Bindings":["input","output"]})";

TEST(Proof, CountsLayersWithWeightsByWhatTheyMultiply) {
  const Proof proof = count_layers(kLayers);
  EXPECT_EQ(proof.layers, 3);
  EXPECT_EQ(to_json(proof), R"({"by_type":{"BFloat16":1,"Half":1,"Int8":1},"layers":3})");
}

TEST(Proof, AnEngineWithoutDetailProvesNothing) {
  EXPECT_EQ(to_json(count_layers(R"({"Layers":["conv1 + relu","conv2"],"Bindings":[]})")), "null");
  EXPECT_EQ(to_json(count_layers("")), "null");
  EXPECT_EQ(to_json(count_layers("[1]")), "null");
  EXPECT_EQ(to_json(count_layers(R"({"Layers":[{"LayerType":7,"Inputs":[3]}]})")), "null");
}

TEST(Proof, KnowsTheSdksWordsForTypes) {
  EXPECT_EQ(type_in("Row major linear FP32"), "Float");
  EXPECT_EQ(type_in("Row major linear FP16 format"), "Half");
  EXPECT_EQ(type_in("Four wide channel vectorized row major Int8 format"), "Int8");
  EXPECT_EQ(type_in("BFloat16"), "BFloat16");
  EXPECT_EQ(type_in("FP8"), "FP8");
  EXPECT_EQ(type_in("something new"), "something new");
}

std::string rtx_plan() {
  std::string plan(100, '\0');
  std::memcpy(plan.data(), "vtrt", 4);
  plan[0x10] = 100;
  plan[0x18] = 1;
  plan[0x19] = 7;
  plan[0x1A] = 1;
  plan[0x1B] = 116;
  return plan;
}

TEST(PlanHeader, AGoodOnePasses) {
  const std::string plan = rtx_plan();
  EXPECT_EQ(read_rtx_header(plan.data(), plan.size())->version, (std::array{1, 7, 1, 116}));
  EXPECT_NO_THROW(check_rtx_plan(plan.data(), plan.size(), {1, 7, 1, 999})) << "the build number is the SDK's to judge";
}

TEST(PlanHeader, WrongOnesAreRefusedByName) {
  std::string plan = rtx_plan();
  EXPECT_THAT(cause_of([&] {
                check_rtx_plan(plan.data(), plan.size(), {1, 8, 0, 1});
              }),
              AllOf(HasSubstr("1.7.1.116"), HasSubstr("1.8.0.1")));
  EXPECT_THAT(cause_of([&] { read_rtx_header(plan.data(), 99); }), AllOf(HasSubstr("99 bytes"), HasSubstr("says 100")));
  EXPECT_THAT(cause_of([&] { read_rtx_header(plan.data(), 10); }), HasSubstr("less than a header"));
  EXPECT_THAT(cause_of([&] { read_rtx_header("vt", 2); }), HasSubstr("not a plan of TensorRT for RTX"));
  EXPECT_THAT(cause_of([&] { check_tensorrt_plan(plan.data(), plan.size()); }),
              HasSubstr("TensorRT for RTX, not of TensorRT"));
  EXPECT_THAT(cause_of([&] { check_tensorrt_plan(plan.data(), 5); }), HasSubstr("damaged"));
  plan[0x18] = 0;
  EXPECT_FALSE(read_rtx_header(plan.data(), plan.size())) << "an unknown layout is left to the SDK";
}

class Search : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() / ("ferry-search-" + std::to_string(::getpid()));
    std::filesystem::remove_all(root_);
    unsetenv("FERRY_SEARCH_TEST");
  }
  void TearDown() override {
    std::filesystem::remove_all(root_);
    unsetenv("FERRY_SEARCH_TEST");
    unsetenv("VIRTUAL_ENV");
  }
  std::string make(const std::string& below) {
    std::filesystem::create_directories(root_ / below);
    return (root_ / below).string();
  }
  std::filesystem::path root_;
  const std::string deps_ = "/nonexistent/deps";
};

TEST_F(Search, ANamedSdkIsTheOnlyOne) {
  const std::string lib = make("sdk/lib");
  setenv("FERRY_SEARCH_TEST", (root_ / "sdk").c_str(), 1);
  const auto folders = sdk_folders({"FERRY_SEARCH_TEST", "tensorrt_libs", deps_.c_str()}, "");
  ASSERT_EQ(folders.size(), 2u);
  EXPECT_EQ(folders[0], lib);
}

TEST_F(Search, ThenTheInstalledDepsTheEnvironmentsPackagesAndTheLoader) {
  const std::string installed = make("lib/ferry/deps/tensorrt_libs");
  const std::string package = make("venv/lib/python3.11/site-packages/tensorrt_libs");
  setenv("VIRTUAL_ENV", (root_ / "venv").c_str(), 1);
  const auto folders =
      sdk_folders({"FERRY_SEARCH_TEST", "tensorrt_libs", deps_.c_str()}, (root_ / "lib/ferry/libferry_x.so").string());
  ASSERT_GE(folders.size(), 3u);
  EXPECT_EQ(folders[0], installed);
  EXPECT_EQ(folders[1], package);
  EXPECT_EQ(folders.back(), "") << "the loader's own path comes last";
}

}  // namespace
}  // namespace ferry::nvinfer
