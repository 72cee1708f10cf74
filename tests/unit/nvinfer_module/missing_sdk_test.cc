// The module of full TensorRT on a machine that has no fitting SDK: it loads, and says what is missing and what to do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gpu/module.h"
#include "gpu/tiny_net.h"

namespace ferry::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

// The SDK is looked for once a process, so the folder must be named before any test: it holds TensorRT 8 and nothing
// else.
class OldSdk {
 public:
  OldSdk() : folder_(std::filesystem::temp_directory_path() / ("ferry-old-sdk-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "libnvinfer.so.8") << "not a library";
    setenv("FERRY_TENSORRT_DIR", folder_.c_str(), 1);
  }
  ~OldSdk() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

 private:
  std::filesystem::path folder_;
};
const OldSdk old_sdk;

class MissingSdk : public ::testing::Test {
 protected:
  void SetUp() override {
    module_ = Module::load("tensorrt", FERRY_MODULES);
    if (module_ == nullptr) GTEST_SKIP() << "the module tensorrt is not built (its headers were not found)";
  }
  std::unique_ptr<Module> module_;
};

TEST_F(MissingSdk, DescribesItselfAllTheSame) {
  const Json json = Json::parse(module_->describe());
  EXPECT_EQ(json["name"], "tensorrt");
  EXPECT_EQ(json["kind"], "gpu");
  EXPECT_EQ(json["opens"], Json::parse(R"(["plan"])"));
  EXPECT_NE(json["compiled_against"], "");
}

TEST_F(MissingSdk, NamesTheVersionThatIsThereAndTheOneItNeeds) {
  const Json json = Json::parse(module_->supported());
  EXPECT_FALSE(json["usable"].get<bool>());
  EXPECT_FALSE(json["can_build"].get<bool>());
  const std::string needed = Json::parse(module_->describe())["compiled_against"].get<std::string>();
  EXPECT_THAT(json["reason"].get<std::string>(), AllOf(HasSubstr("libnvinfer.so.8"), HasSubstr(needed)));
  EXPECT_THAT(json["remedy"].get<std::string>(), AllOf(HasSubstr("pip install"), HasSubstr("FERRY_TENSORRT_DIR")));
}

template <typename Call>
ModuleError refusal(const Call& call) {
  try {
    call();
  } catch (const ModuleError& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was refused";
  return ModuleError(FERRY_OK, {"", "", ""});
}

TEST_F(MissingSdk, BuildAndOpenAreUnsupportedWithTheSameReason) {
  const ModuleError build = refusal([&] { module_->build({TinyNet(1).onnx("fp32"), "{}"}); });
  EXPECT_EQ(build.status, FERRY_UNSUPPORTED);
  EXPECT_THAT(build.cause, HasSubstr("libnvinfer.so.8"));
  EXPECT_EQ(refusal([&] { OpenedEngine engine(*module_, "plan"); }).status, FERRY_UNSUPPORTED);
}

TEST_F(MissingSdk, ACallerWithShorterStructuresIsRefused) {
  ferry_open_args args{};
  args.struct_size = 8;
  ferry_engine* engine = nullptr;
  const ModuleError error = refusal([&] { module_->check(module_->api().open(&args, &engine)); });
  EXPECT_THAT(error.cause, HasSubstr("older backend_abi.h"));
  EXPECT_EQ(engine, nullptr);
  EXPECT_THAT(refusal([&] { module_->check(module_->api().build(nullptr)); }).cause, HasSubstr("backend_abi.h"));
}

TEST_F(MissingSdk, AnUnknownOpenOptionIsNamed) {
  EXPECT_THAT(refusal([&] { OpenedEngine engine(*module_, "plan", R"({"grahps":1})"); }).cause, HasSubstr("'grahps'"));
}

TEST_F(MissingSdk, ClosingNothingIsHarmless) {
  module_->api().close(nullptr);
  module_->api().close_session(nullptr);
}

}  // namespace
}  // namespace ferry::testing
