// Who takes part in a comparison, on machines that are not here.
#include <gmock/gmock.h>

#include "ferry/error.h"
#include "lineup.h"

namespace ferry::tool {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

Device gpu() {
  Device device;
  device.kind = "gpu";
  device.name = "NVIDIA GeForce RTX 4060";
  device.memory_bytes = 8'000'000'000;
  return device;
}

BackendInfo builder(bool usable) {
  BackendInfo info;
  info.name = info.display_name = "builder";
  info.present = info.can_build = info.builds = true;
  info.usable = usable;
  info.opens = {"plan"};
  info.precisions = {"fp32", "fp16"};
  if (usable) info.devices = {gpu()};
  if (!usable) info.reason = "no GPU";
  return info;
}

BackendInfo reference(bool on_gpu) {
  BackendInfo info;
  info.name = info.display_name = "reference";
  info.present = info.usable = info.reference = true;
  info.opens = {"weights"};
  info.precisions = {"fp32", "fp16"};
  info.devices = {on_gpu ? gpu() : Device{}};
  return info;
}

BackendInfo reader() {
  BackendInfo info;
  info.name = info.display_name = "reader";
  info.present = info.usable = true;
  info.opens = {"onnx"};
  info.precisions = {"fp32", "fp16", "int8"};
  info.devices = {Device{}};
  return info;
}

std::vector<std::string> names(const Plan& plan) {
  std::vector<std::string> list;
  for (const BackendInfo& info : plan.engines) list.push_back(info.name);
  return list;
}

TEST(Plan, WithoutAGpuTheUsableOnesRunInFp32) {
  LineupOptions options;
  options.model = "my model.pth";
  const Plan plan = plan_of({builder(false), reference(false), reader()}, options, true);
  EXPECT_THAT(names(plan), ElementsAre("reference", "reader"));
  EXPECT_THAT(plan.precisions, ElementsAre("fp32"));
  EXPECT_THAT(plan.batches, ElementsAre(1, 8));
  EXPECT_EQ(plan.device_kind, "cpu");
  EXPECT_FALSE(plan.referee);
  EXPECT_THAT(plan.notes, Contains(HasSubstr("builder was left out: no GPU. For example: ferry build 'my model.pth'")));
}

TEST(Plan, WithAGpuEnginesOfTheCpuStandAside) {
  const Plan plan = plan_of({builder(true), reference(true), reader()}, {}, true);
  EXPECT_THAT(names(plan), ElementsAre("builder", "reference"));
  EXPECT_THAT(plan.precisions, ElementsAre("fp32", "fp16"));
  EXPECT_THAT(plan.batches, ElementsAre(1, 8, 32, 128));
  EXPECT_EQ(plan.device_kind, "gpu");
  EXPECT_FALSE(plan.referee);
  EXPECT_THAT(plan.notes, Contains(HasSubstr("--backends reader")));
}

TEST(Plan, AnEngineThatIsNotMeasuredJudgesWhereNoMeasuredOneCan) {
  const Plan no_reference = plan_of({builder(true), reader()}, {}, true);
  ASSERT_TRUE(no_reference.referee);
  EXPECT_EQ(no_reference.referee->name, "reader");

  LineupOptions only_fp16;
  only_fp16.precisions = {"fp16"};
  const Plan half = plan_of({builder(true), reference(true), reader()}, only_fp16, true);
  ASSERT_TRUE(half.referee);
  EXPECT_EQ(half.referee->name, "reference");
}

TEST(Plan, AReferenceThatTakesWeightsCannotTakeAnOnnxFile) {
  const Plan plan = plan_of({reference(false), reader()}, {}, false);
  EXPECT_THAT(names(plan), ElementsAre("reader"));
  EXPECT_THAT(plan.notes, Contains(HasSubstr("it takes a checkpoint")));
}

TEST(Plan, EnginesNamedByTheUserAreTakenInTheirOrderUsableOrNot) {
  LineupOptions options;
  options.backends = {"reader", "builder"};
  EXPECT_THAT(names(plan_of({builder(false), reference(false), reader()}, options, true)),
              ElementsAre("reader", "builder"));
}

TEST(Plan, NothingUsableIsAnErrorThatPointsToDoctor) {
  try {
    plan_of({builder(false)}, {}, true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.stage(), Stage::kBackend);
    EXPECT_THAT(error.hint(), HasSubstr("ferry doctor"));
  }
}

TEST(Plan, ProfilesCoverEveryBatchAndAreBestAtThoseAskedFor) {
  EXPECT_THAT(profiles_for({32, 1, 8}),
              ElementsAre(BatchProfile{1, 1, 1}, BatchProfile{2, 8, 8}, BatchProfile{9, 32, 32}));
  EXPECT_THAT(profiles_for({4}), ElementsAre(BatchProfile{1, 4, 4}));
  EXPECT_THAT(profiles_for({2, 2}), ElementsAre(BatchProfile{1, 2, 2}));
}

}  // namespace
}  // namespace ferry::tool
