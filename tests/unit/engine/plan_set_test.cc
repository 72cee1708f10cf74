// Plan sets: built of two fake engines that win at different batches, opened, routed, and refused.
#include "ferry/plan_set.h"

#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "ferry/classifier.h"
#include "unit/engine/fixture.h"

namespace ferry {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class PlanSets : public EngineFiles {
 protected:
  void SetUp() override {
    EngineFiles::SetUp();
    // One image: 1.5 ms against 4.1. Eight: 12 ms against 4.8.
    set("FERRY_TWIN_MS", "0,1.5");
    set("FERRY_FAKE_MS", "4,0.1");
    set_ = path("net.plan");
  }
  void TearDown() override {
    for (const char* name : {"FERRY_TWIN_MS", "FERRY_FAKE_MS", "FERRY_TWIN_FAIL", "FERRY_TWIN_MODE"}) ::unsetenv(name);
    EngineFiles::TearDown();
  }

  PlanSetRequest wanted(std::vector<std::int64_t> batches = {1, 8}) const {
    PlanSetRequest r;
    r.build.onnx_path = onnx_;
    r.build.plan_path = set_;
    r.backends = {"fake", "twin"};
    r.batches = std::move(batches);
    r.measure.min_runs = 5;
    r.measure.min_seconds = r.measure.warmup_seconds = 0;
    r.measure.rounds = 2;
    return r;
  }
  void build(std::vector<std::int64_t> batches = {1, 8}) const { build_plan_set(wanted(std::move(batches))); }
  nlohmann::json text() const { return nlohmann::json::parse(slurp(set_)); }
  void rewrite(const std::function<void(nlohmann::json&)>& change) const {
    nlohmann::json json = text();
    change(json);
    std::ofstream(set_, std::ios::trunc) << json.dump();
  }
  Error refusal() const {
    return error_of([&] { open_engine(set_); });
  }

  std::string set_;
};

TEST_F(PlanSets, EachBatchGoesToTheFastest) {
  const PlanSetOutcome outcome = build_plan_set(wanted());
  ASSERT_EQ(outcome.set.parts.size(), 2u);
  EXPECT_EQ(outcome.set.measured.size(), 4u);
  EXPECT_THAT(outcome.set.left_out, IsEmpty());
  const PlanSet stored = read_plan_set(set_);
  EXPECT_EQ(to_json(stored), to_json(outcome.set));
  EXPECT_EQ(stored.parts[0].file, "net.fake.plan");
  EXPECT_THAT(stored.parts[0].profiles, ElementsAre(BatchProfile{2, 8, 8}));
  EXPECT_THAT(stored.parts[1].profiles, ElementsAre(BatchProfile{1, 1, 1}));
  for (const PlanSet::Measured& m : stored.measured) EXPECT_EQ(m.chosen, (m.backend == "twin") == (m.batch == 1));
}

TEST_F(PlanSets, AnOpenedSetSendsRequestsToTheirPlans) {
  build();
  const Engine engine = open_engine(set_);
  const EngineInfo& info = engine.info();
  EXPECT_EQ(*info.max_batch, 8);
  EXPECT_EQ(info.part_for(1)->backend, "twin");
  EXPECT_EQ(info.part_for(3)->backend, "fake");
  EXPECT_EQ(info.part_for(9), nullptr);
  EXPECT_THAT(info.backend_display_name, HasSubstr("Twin engine"));
  const Engine alone = open_engine(path("net.fake.plan"));
  Session session = engine.new_session(), other = alone.new_session();
  for (const std::int64_t batch : {1, 8, 3, 1}) {
    const Tensor input = Tensor::random_normal({batch, 3, 32, 32}, 5);
    const Tensor got = session.run(input.view()), expected = other.run(input.view());
    EXPECT_TRUE(std::ranges::equal(got.floats(), expected.floats())) << batch;
  }
  EXPECT_THAT(error_of([&] {
                session.run(Tensor::random_normal({9, 3, 32, 32}, 5).view());
              }).cause(),
              HasSubstr("a batch of 9 was asked for; this engine takes 1 to 1, 2 to 8"));
  EXPECT_THAT(error_of([&] { session.wait(); }).cause(), HasSubstr("without a request"));
}

// ferry's latency engine does, and TensorRT does not.
TEST_F(PlanSets, EnginesMayWriteTheirDynamicBatchDifferently) {
  for (const char* who : {"FERRY_TWIN_MODE", "FERRY_FAKE_MODE"}) {
    set(who, "zero_batch");
    std::filesystem::remove_all(path("cache"));
    build();
    const Engine engine = open_engine(set_);
    EXPECT_EQ(engine.info().inputs[0].shape, (Shape{-1, 3, 32, 32})) << who;
    EXPECT_EQ(engine.info().outputs[0].shape, (Shape{-1, 10})) << who;
    Session session = engine.new_session();
    for (const std::int64_t batch : {1, 8})
      EXPECT_EQ(session.run(Tensor::random_normal({batch, 3, 32, 32}, 5).view()).shape(), (Shape{batch, 10}));
    ::unsetenv(who);
  }
}

// What matters is refused, and said.
TEST_F(PlanSets, APlanOfAnotherNetworkDoesNotFit) {
  build();
  ResNetArchitecture other = tiny_architecture();
  other.num_classes = 11;
  ExportOptions options;
  options.height = options.width = 32;
  export_onnx(random_resnet(other, 1), options).save(path("other.onnx"));
  BuildRequest foreign = request(path("net.twin.plan"));
  foreign.onnx_path = path("other.onnx");
  foreign.backend = "twin";
  foreign.options.profiles = {{1, 1, 1}};
  const std::string digest = build_engine(foreign).sidecar.plan_sha256;
  rewrite([&](nlohmann::json& json) { json["plans"][1]["plan_sha256"] = digest; });
  EXPECT_THAT(refusal().cause(), HasSubstr("float32 Nx11 in place of 'output' float32 Nx10"));
}

TEST_F(PlanSets, StagingAndSubmitGoToTheSameEngine) {
  build();
  Session session = open_engine(set_).new_session();
  for (const std::int64_t batch : {1, 8}) {
    const auto staging = session.staging(batch);
    const Tensor input = Tensor::random_normal({batch, 3, 32, 32}, 7);
    std::memcpy(staging.inputs[0], input.data(), input.size_bytes());
    session.submit(batch, {staging.inputs[0]}, staging.outputs);
    EXPECT_THAT(error_of([&] { session.submit(1, {staging.inputs[0]}, staging.outputs); }).cause(),
                HasSubstr("already in flight"));
    session.wait();
    const Tensor expected = session.run(input.view());
    EXPECT_EQ(std::memcmp(staging.outputs[0], expected.data(), expected.size_bytes()), 0);
  }
}

// Pictures lie in one place before it is known how many come, and so to which engine they go.
TEST_F(PlanSets, PicturesGoToTheEngineForTheirNumber) {
  set("FERRY_FAKE_MODE", "images");
  set("FERRY_TWIN_MODE", "images");
  build();
  const Engine both = open_engine(set_), alone = open_engine(path("net.fake.plan"));
  ASSERT_TRUE(both.info().images);
  constexpr int kSide = 40;
  const std::array<float, 3> mean{0.5f, 0.4f, 0.3f}, std{0.2f, 0.3f, 0.4f};
  const auto answers = [&](const Engine& engine, std::vector<std::size_t> counts) {
    Session session = engine.new_session();
    const std::size_t size = std::size_t{3} * kSide * kSide;
    std::byte* pixels = session.image_staging(8 * size);
    for (std::size_t i = 0; i < 8 * size; ++i) pixels[i] = static_cast<std::byte>(i * 7 % 251);
    std::vector<std::vector<float>> all;
    for (const std::size_t count : counts) {
      std::vector<StagedImage> images(count);
      for (std::size_t i = 0; i < count; ++i) {
        images[i].offset = i * size;
        images[i].stride = 3 * kSide;
        images[i].width = images[i].height = images[i].part_width = images[i].part_height = kSide;
        images[i].resized_width = images[i].resized_height = 32;
      }
      std::vector<float>& out = all.emplace_back(10 * count, std::nanf(""));
      session.submit_images(images, count * size, mean, std, {reinterpret_cast<std::byte*>(out.data())});
      session.wait();
    }
    return all;
  };
  EXPECT_EQ(answers(both, {8, 1, 3, 1}), answers(alone, {8, 1, 3, 1}));
}

TEST_F(PlanSets, ItsFilesSayWhatPlansSay) {
  PlanSetRequest request = wanted();
  request.build.class_names = {"a", "b"};
  request.build.preprocessing = "imagenet-v2";
  build_plan_set(request);
  const Sidecar described = describe_plan(set_);
  EXPECT_EQ(described.precision, "fp32");
  EXPECT_EQ(described.profiles.size(), 2u);
  EXPECT_THAT(picture_facts(set_).class_names, ElementsAre("a", "b"));
  EXPECT_EQ(picture_facts(set_).preprocessing, "imagenet-v2");
  EXPECT_EQ(describe_plan(path("net.fake.plan")).backend, "fake");
}

TEST_F(PlanSets, WhoeverIsAbsentOrRefusesIsLeftOutInOneLine) {
  for (const char* entry : {"build", "open", "open_session"}) {
    set("FERRY_TWIN_FAIL", entry);
    std::filesystem::remove_all(path("cache"));
    const PlanSetOutcome outcome = build_plan_set(wanted());
    ASSERT_EQ(outcome.set.parts.size(), 1u) << entry;
    EXPECT_THAT(outcome.set.parts[0].profiles, ElementsAre(BatchProfile{1, 1, 1}, BatchProfile{2, 8, 8}));
    ASSERT_EQ(outcome.set.left_out.size(), 1u) << entry;
    EXPECT_THAT(outcome.set.left_out[0], HasSubstr(std::string("fake failure in ") + entry));
    EXPECT_THAT(outcome.set.left_out[0], Not(HasSubstr("\n")));
    open_engine(set_);
  }
  ::unsetenv("FERRY_TWIN_FAIL");
  set("FERRY_TWIN_MODE", "no_library");
  EXPECT_THAT(build_plan_set(wanted()).set.left_out[0], HasSubstr("the fake SDK is missing"));
}

TEST_F(PlanSets, AFastWrongEngineDoesNotWin) {
  build();
  std::filesystem::remove(set_);
  set("FERRY_TWIN_MODE", "other_network");  // its plan passed its probe before
  const PlanSetOutcome outcome = build_plan_set(wanted());
  EXPECT_EQ(outcome.set.parts.size(), 1u);
  EXPECT_EQ(outcome.set.parts[0].backend, "fake");
  EXPECT_THAT(outcome.set.left_out[0], HasSubstr("Twin engine"));
}

TEST_F(PlanSets, WithoutAnyEngineNothingIsWritten) {
  PlanSetRequest request = wanted();
  request.backends = {"twin"};
  set("FERRY_TWIN_FAIL", "build");
  EXPECT_THAT(error_of([&] { build_plan_set(request); }).cause(), HasSubstr("fake failure in build"));
  EXPECT_FALSE(std::filesystem::exists(set_));
  request.build.options.target = "8.9";
  EXPECT_EQ(error_of([&] { build_plan_set(request); }).stage(), Stage::kUsage);
}

TEST_F(PlanSets, CancellingLeavesAnOldSetAsItWas) {
  build();
  const std::string before = slurp(set_);
  PlanSetRequest request = wanted({1, 2});
  request.build.progress = [](const std::string& phase, std::int64_t, std::int64_t) {
    return phase.find("measuring") == std::string::npos;
  };
  EXPECT_EQ(error_of([&] { build_plan_set(request); }).stage(), Stage::kInterrupted);
  EXPECT_EQ(slurp(set_), before);
}

TEST_F(PlanSets, ASetThatCannotBeOpenedIsNotKept) {
  PlanSetRequest request = wanted();
  request.build.progress = [](const std::string& phase, std::int64_t, std::int64_t) {
    if (phase.find("measuring") != std::string::npos) set("FERRY_TWIN_FAIL", "open");
    return true;
  };
  EXPECT_THAT(error_of([&] { build_plan_set(request); }).cause(),
              HasSubstr("cannot be opened: its plan 'net.twin.plan'"));
  EXPECT_FALSE(std::filesystem::exists(set_));
}

TEST_F(PlanSets, ThePlaceOfASinglePlanIsTakenOver) {
  build_engine(request(set_));
  build();
  EXPECT_FALSE(std::filesystem::exists(sidecar_path(set_)));
  open_engine(set_);
  build_engine(request(set_));  // and back
  EXPECT_FALSE(is_plan_set(set_));
  open_engine(set_);
}

TEST_F(PlanSets, AChangedPlanIsRefusedWithTheCommandThatRepairsTheSet) {
  build();
  std::ofstream(path("net.twin.plan"), std::ios::app) << "x";
  EXPECT_THAT(refusal().cause(), HasSubstr("net.twin.plan"));
  EXPECT_THAT(refusal().hint(), HasSubstr("--backend fake,twin --batch 1,8 -o"));
  EXPECT_THAT(refusal().hint(), HasSubstr(set_));
  build();
  BuildRequest another = request(path("net.twin.plan"));
  another.backend = "twin";
  another.options.profiles = {{1, 1, 64}};
  build_engine(another);
  EXPECT_THAT(refusal().cause(), HasSubstr("not the one that was built for it"));
  std::filesystem::remove(path("net.twin.plan"));
  std::filesystem::remove(path("net.twin.plan.json"));
  EXPECT_THAT(refusal().cause(), HasSubstr("net.twin.plan"));
  EXPECT_THAT(error_of([&] { describe_plan(path("other.plan")); }).cause(), HasSubstr("has no sidecar"));
}

TEST_F(PlanSets, WhatIsWrongWithTheWayOfOpeningIsNotRepairedByBuilding) {
  build();
  OpenOptions some;
  some.weight_budget_bytes = 1000;
  const Error error = error_of([&] { open_engine(set_, some); });
  EXPECT_EQ(error.subject(), set_);
  EXPECT_THAT(error.cause(), HasSubstr("its plan 'net."));
  EXPECT_THAT(error.hint(), HasSubstr("leave the budget out"));
}

TEST_F(PlanSets, AChangedOnnxIsRefused) {
  build();
  export_tiny(onnx_, 2);
  EXPECT_THAT(refusal().cause(), HasSubstr("has changed since it was built"));
}

TEST_F(PlanSets, ASetThatContradictsItselfIsRefused) {
  build();
  const auto with = [&](const std::function<void(nlohmann::json&)>& change) {
    build();
    rewrite(change);
    return refusal().cause();
  };
  EXPECT_THAT(with([](auto& j) { j["version"] = 9; }), HasSubstr("version 9"));
  EXPECT_THAT(with([](auto& j) { j["plans"][0]["file"] = "../net.fake.plan"; }), HasSubstr("beside it"));
  EXPECT_THAT(with([](auto& j) { j["plans"] = nlohmann::json::array(); }), HasSubstr("names no plan"));
  EXPECT_THAT(with([](auto& j) { j["plans"][0]["profiles"][0]["min"] = 1; }), HasSubstr("belongs to two plans"));
  EXPECT_THAT(with([](auto& j) { j["plans"][0]["profiles"][0]["min"] = 0; }), HasSubstr("is no range"));
  EXPECT_THAT(with([](auto& j) { j["plans"][0]["profiles"][0]["max"] = 99; }),
              HasSubstr("does not take a batch of 99"));
  EXPECT_THAT(with([](auto& j) { j.erase("batches"); }), HasSubstr("not a usable plan set"));
  std::ofstream(set_, std::ios::trunc) << "{\"format\": \"ferry plan set\"";
  EXPECT_THAT(refusal().cause(), HasSubstr("not a usable plan set"));
}

TEST_F(PlanSets, AFileIsToldByItsBeginning) {
  const auto write = [&](const char* text) { std::ofstream(path("f"), std::ios::trunc) << text; };
  write("  {\n \"format\": \"ferry plan set\", ");
  EXPECT_TRUE(is_plan_set(path("f")));
  write("{\"format\": \"ferry engine\"}");
  EXPECT_FALSE(is_plan_set(path("f")));
  write("x \"ferry plan set\"");
  EXPECT_FALSE(is_plan_set(path("f")));
  write("");
  EXPECT_FALSE(is_plan_set(path("f")));
  EXPECT_FALSE(is_plan_set(path("missing")));
}

TEST(Fastest, IsTheLowestMedianBeyondNoise) {
  const double none = std::nan("");
  EXPECT_THAT(fastest({{1.0, 0.5}, {1.0, 0.995}, {1.0, 2.0}, {none, 3.0}}, 0.01), ElementsAre(1, 0, 0, 1));
  EXPECT_THROW(fastest({{1.0}, {none}}, 0.01), Error);
}

}  // namespace
}  // namespace ferry
