#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "engine/commands.h"
#include "ferry/engine_file.h"
#include "ferry/error.h"

namespace ferry {
namespace {

using testing::HasSubstr;

Sidecar sample() {
  Sidecar s;
  s.backend = "tensorrt_rtx";
  s.sdk = "TensorRT for RTX";
  s.sdk_version = "1.7.1.116";
  s.plan_sha256 = std::string(64, 'a');
  s.onnx_sha256 = std::string(64, 'b');
  s.onnx_path = "/models/résumé.onnx";
  s.compute_capability = "8.9";
  s.precision = "fp16";
  s.precision_proof_json = R"({"layers":2,"by_type":{"Half":2}})";
  s.precision_proof_due = true;
  s.cache_key = std::string(64, 'c');
  s.profiles = {{1, 8, 64}};
  s.inputs = {{"input", DType::kFloat32, {-1, 3, 224, 224}}};
  s.outputs = {{"output", DType::kFloat16, {-1, 1000}}};
  s.build_options_json = R"({"tf32":false})";
  s.build_seconds = 1.25;
  s.built_at = "2026-11-24T12:00:00Z";
  s.ferry_version = "0.1.0";
  s.origin = "resnet101.pth";
  s.probe = Probe{7, 2, {0.1f, -3.4028235e38f, 1e-45f, 0.33333334f}, 0.01, "OpenVINO", {}};
  s.class_names = {"tabby", "tiger cat"};
  return s;
}

TEST(Sidecar, SurvivesARoundTrip) {
  const Sidecar s = sample(), back = sidecar_from_json(to_json(s), "x");
  EXPECT_EQ(to_json(back), to_json(s));
  EXPECT_EQ(back.probe->expected, s.probe->expected);  // bit for bit
  EXPECT_EQ(back.profiles, s.profiles);
  EXPECT_EQ(back.inputs[0].shape, s.inputs[0].shape);
  EXPECT_EQ(back.outputs[0].dtype, DType::kFloat16);
  EXPECT_EQ(back.onnx_path, s.onnx_path);
  EXPECT_TRUE(back.precision_proof_due);
  Sidecar bare;
  EXPECT_EQ(to_json(sidecar_from_json(to_json(bare), "x")), to_json(bare));
}

TEST(Sidecar, EveryTruncationIsRefusedByName) {
  const std::string whole = to_json(sample());
  for (std::size_t size = 0; size + 2 < whole.size(); size += 7) {
    try {
      sidecar_from_json(whole.substr(0, size), "model.plan.json");
      FAIL() << size;
    } catch (const Error& error) {
      EXPECT_EQ(error.subject(), "model.plan.json");
      EXPECT_THAT(error.hint(), HasSubstr("ferry build"));
    }
  }
}

TEST(Sidecar, AMissingKeyAWrongTypeAndAnotherVersionAreRefused) {
  const nlohmann::json whole = nlohmann::json::parse(to_json(sample()));
  for (const auto& [key, value] : whole.items()) {
    nlohmann::json changed = whole;
    changed.erase(key);
    EXPECT_THROW(sidecar_from_json(changed.dump(), "x"), Error) << "without " << key;
  }
  for (const char* key : {"backend", "profiles", "inputs", "probe", "plan_sha256", "class_names", "version"}) {
    nlohmann::json changed = whole;
    changed[key] = 5;
    EXPECT_THROW(sidecar_from_json(changed.dump(), "x"), Error) << key;
  }
  nlohmann::json later = whole;
  later["version"] = 2;
  EXPECT_THROW(sidecar_from_json(later.dump(), "x"), Error);
  later["version"] = 1;
  later["inputs"][0]["dtype"] = "float13";
  EXPECT_THROW(sidecar_from_json(later.dump(), "x"), Error);
}

TEST(Sidecar, APlanWithoutOneIsRefusedWithHowToAdoptIt) {
  try {
    read_sidecar("/no/such/trtexec's.plan");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.stage(), Stage::kOpen);
    EXPECT_THAT(error.cause(), HasSubstr("no sidecar"));
    EXPECT_THAT(error.hint(), HasSubstr(R"(`ferry build MODEL.onnx -o '/no/such/trtexec'\''s.plan'`)"));
  }
}

TEST(Commands, QuoteWhatAShellWouldTakeApart) {
  EXPECT_EQ(shell_quoted("model.plan"), "model.plan");
  EXPECT_EQ(shell_quoted("my model.plan"), "'my model.plan'");
  EXPECT_EQ(shell_quoted("it's"), R"('it'\''s')");
  EXPECT_EQ(shell_quoted("$(rm x)"), "'$(rm x)'");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(rebuild_command(sample(), "a b.plan", "8.9"),
            "`ferry build /models/résumé.onnx -o 'a b.plan' --backend tensorrt_rtx --batch 1:8:64 --target 8.9`");
}

TEST(CheckPrecision, AnEngineThatFellBackToFloatFails) {
  EXPECT_THROW(check_precision("fp16", R"({"layers":110,"by_type":{"Float":110}})", "x.plan"), Error);
  EXPECT_THROW(check_precision("int8", R"({"layers":110,"by_type":{"Half":100,"Int8":10}})", "x.plan"), Error);
  EXPECT_THROW(check_precision("fp16", R"({"layers":110,"by_type":{"Float":60,"Half":50}})", "x.plan"), Error);
  try {
    check_precision("fp16", R"({"layers":110,"by_type":{"Float":106,"Half":4}})", "x.plan");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.subject(), "x.plan");
    EXPECT_THAT(error.cause(), HasSubstr("4 of 110 layers"));
  }
}

TEST(CheckPrecision, AnHonestEnginePasses) {
  check_precision("fp16", R"({"layers":110,"by_type":{"Half":104,"Float":2,"Int32":200}})", "x");
  check_precision("int8", R"({"layers":140,"by_type":{"Int8":104,"Half":20,"Float":16}})", "x");
  check_precision("fp16", R"({"by_type":{"BFloat16":10}})", "x");
  check_precision("fp32", R"({"by_type":{"Float":10}})", "x");
  check_precision("fp16", "", "x");  // the engine cannot tell
  check_precision("fp16", R"({"by_type":{}})", "x");
  EXPECT_THROW(check_precision("fp16", R"({"by_type":{"Half":"many"}})", "x"), Error);
}

}  // namespace
}  // namespace ferry
