// Options that other modules know and ferry's own engine cannot follow: named, whatever the model or the machine.
#include <gtest/gtest.h>

#include "gpu/module.h"
#include "gpu/tiny_net.h"

namespace ferry::testing {
namespace {

// The key that `call` is refused for.
template <typename Call>
std::string refused_key(const Call& call) {
  try {
    call();
  } catch (const ModuleError& error) {
    EXPECT_NE(error.hint, "");
    return error.subject;
  }
  return "taken";
}

TEST(LatencyOptions, WhatItCannotFollowIsRefusedByName) {
  const auto module = Module::load("cuda", FERRY_MODULES);
  if (module == nullptr) GTEST_SKIP() << "the module cuda is not built";
  for (const auto& [key, value] : {std::pair{"weight_streaming", "true"},
                                   {"workspace_bytes", "1024"},
                                   {"tf32", "true"},
                                   {"tactics", R"(["jit_convolutions"])"},
                                   {"aux_streams", "1"}}) {
    const std::string options = std::string(R"({"target":"9.0",")") + key + "\":" + value + "}";
    EXPECT_EQ(refused_key([&] { module->build({TinyNet(1).onnx("fp16"), options}); }), key);
  }
  const auto open = [&] { const OpenedEngine engine(*module, "", R"({"weight_budget_bytes":0})"); };
  EXPECT_EQ(refused_key(open), "weight_budget_bytes");
}

}  // namespace
}  // namespace ferry::testing
