// The module that can run something on this machine's GPU, and engines built once for all tests.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "gpu/module.h"
#include "gpu/tiny_net.h"

namespace ferry::testing {

class Gpu : public ::testing::Test {
 public:
  static constexpr std::int64_t kMax = 16;
  static constexpr std::size_t kClasses = TinyNet::kClasses;

  void SetUp() override {
    if (module() == nullptr) GTEST_SKIP() << "no GPU here that a module can use: " << reason();
  }

  /// The first usable of $FERRY_GPU_MODULE, tensorrt, tensorrt_rtx; nullptr if there is none.
  static const Module* module() {
    static const std::unique_ptr<Module> found = find();
    return found.get();
  }
  static std::string& reason() {
    static std::string text;
    return text;
  }

  static std::string profile(std::int64_t max = kMax) {
    return R"({"min":1,"opt":4,"max":)" + std::to_string(max) + "}";
  }

  /// Built on first use: on full TensorRT a build takes a while.
  static const BuildOutput& built(const std::string& precision) {
    static std::map<std::string, BuildOutput> all;
    const auto found = all.find(precision);
    if (found != all.end()) return found->second;
    return all[precision] = module()->build({net().onnx(precision), "{\"profiles\":[" + profile() + "]}"});
  }

  static const TinyNet& net() {
    static const TinyNet network(1);
    return network;
  }

  /// Relative error that a precision may have on this network. FP32 leaves no room for TF32 (about 3e-4).
  static double tolerance(const std::string& precision) {
    return precision == "fp32" ? 5e-5 : precision == "fp16" ? 5e-3 : 0.1;
  }

 private:
  static std::unique_ptr<Module> find() {
    const char* named = std::getenv("FERRY_GPU_MODULE");
    for (const std::string& name :
         named != nullptr ? std::vector<std::string>{named} : std::vector<std::string>{"tensorrt", "tensorrt_rtx"}) {
      auto candidate = Module::load(name);
      if (candidate == nullptr) {
        reason() += name + " is not built; ";
        continue;
      }
      const auto here = nlohmann::json::parse(candidate->supported());
      if (here["usable"].get<bool>()) return candidate;
      reason() += name + ": " + here["reason"].get<std::string>() + "; ";
    }
    return nullptr;
  }
};

}  // namespace ferry::testing
