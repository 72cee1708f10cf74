// With a real builder, where there is one: an engine for an RTX 4060, built on a machine that may have no GPU at all.
#include <nlohmann/json.hpp>

#include "fixture.h"

namespace ferry {
namespace {

using testing::HasSubstr;

class AheadOfTime : public EngineFiles {
 protected:
  void SetUp() override {
    EngineFiles::SetUp();
    for (const BackendInfo& info : Backend::list()) {
      if (info.can_build && info.name == "tensorrt_rtx") builder_ = info.name;
      if (info.usable && info.name == "openvino") referee_ = info.display_name;
    }
    if (builder_.empty()) GTEST_SKIP() << "TensorRT for RTX is not here: setup/install fetches it";
  }
  BuildRequest for_4060(const std::string& plan) const {
    BuildRequest r = request(plan);
    r.backend = builder_;
    r.options.target = "8.9";
    return r;
  }
  std::string builder_, referee_;
};

TEST_F(AheadOfTime, BuildsForAnotherGpuAndSaysSo) {
  onnx_ = path("half.onnx");
  export_tiny(onnx_, 1, Precision::kFp16);
  std::vector<std::string> phases;
  BuildRequest r = for_4060(path("model.plan"));
  r.progress = [&](const std::string& phase, std::int64_t, std::int64_t) {
    phases.push_back(phase);
    return true;
  };
  const Sidecar s = build_engine(r).sidecar;
  EXPECT_EQ(s.compute_capability, "8.9");
  EXPECT_EQ(s.precision, "fp16");
  EXPECT_TRUE(s.precision_proof_due);  // no GPU of that kind was at hand
  EXPECT_FALSE(phases.empty());
  EXPECT_GT(std::filesystem::file_size(path("model.plan")), 10'000u);
  if (!referee_.empty()) {
    EXPECT_EQ(s.probe->referee, referee_);
    EXPECT_EQ(s.probe->expected.size(), 10u);
  }
  EXPECT_TRUE(build_engine(for_4060(path("model.plan"))).cache_hit);
}

TEST_F(AheadOfTime, OpeningItElsewhereIsRefusedWithAReason) {
  build_engine(for_4060(path("model.plan")));
  bool has_4060 = false;
  for (const BackendInfo& info : Backend::list())
    for (const Device& device : info.devices) has_4060 = has_4060 || device.compute_capability == "8.9";
  if (has_4060) GTEST_SKIP() << "this machine can run it";
  const Error error = error_of([&] { open_engine(path("model.plan")); });
  EXPECT_EQ(error.stage(), Stage::kOpen);
  EXPECT_EQ(error.subject(), path("model.plan"));
  EXPECT_FALSE(error.hint().empty());
}

TEST_F(AheadOfTime, CancellingARealBuildLeavesNothing) {
  BuildRequest r = for_4060(path("model.plan"));
  r.progress = [](const std::string&, std::int64_t, std::int64_t) { return false; };
  EXPECT_EQ(error_of([&] { build_engine(r); }).stage(), Stage::kInterrupted);
  EXPECT_FALSE(std::filesystem::exists(path("model.plan")));
  EXPECT_TRUE(files(path("cache")).empty());
}

TEST_F(AheadOfTime, WithoutATargetOnAMachineWithoutGpuTheTargetIsAskedFor) {
  for (const BackendInfo& info : Backend::list())
    if (info.name == builder_ && !info.devices.empty()) GTEST_SKIP() << "this machine has a GPU";
  BuildRequest r = request(path("model.plan"));
  for (const std::string& backend : {builder_, std::string()}) {
    r.backend = backend;
    const Error error = error_of([&] { build_engine(r); });
    EXPECT_EQ(error.stage(), Stage::kBuild);
    EXPECT_THAT(error.hint(), HasSubstr("--target 8.9")) << error.what();
  }
}

class OpenModel : public EngineFiles {
 protected:
  void SetUp() override {
    EngineFiles::SetUp();
    for (const BackendInfo& info : Backend::list())
      for (const std::string& what : info.opens)
        if (info.usable && what == "onnx") return;
    GTEST_SKIP() << "no engine here runs ONNX files: setup/install fetches OpenVINO";
  }
};

TEST_F(OpenModel, AnOnnxFileRunsWithTheBestUsableBackend) {
  const Engine engine = open_engine(onnx_);
  EXPECT_EQ(engine.new_session().run(Tensor::random_normal({2, 3, 32, 32}, 1).view()).shape(), (Shape{2, 10}));
}

}  // namespace
}  // namespace ferry
