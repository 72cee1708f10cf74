// A module folder of its own for each test, an environment that is put back, and a small model.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>

#include "ferry/backend.h"
#include "ferry/error.h"

namespace ferry {

/// Sets environment variables for a scope.
class Environment {
 public:
  ~Environment() {
    for (const auto& [name, value] : before_) put(name, value);
  }
  void set(const std::string& name, const std::string& value) {
    const char* now = getenv(name.c_str());
    before_.try_emplace(name, now == nullptr ? std::nullopt : std::optional<std::string>(now));
    put(name, value);
  }

 private:
  static void put(const std::string& name, const std::optional<std::string>& value) {
    if (value) {
      setenv(name.c_str(), value->c_str(), 1);
    } else {
      unsetenv(name.c_str());
    }
  }
  std::map<std::string, std::optional<std::string>> before_;
};

/// Serialised ONNX of a narrow ResNet with `classes` outputs and images of 32x32.
inline const std::string& tiny_onnx(int classes = 10) {
  static std::map<int, std::string> models;
  std::string& model = models[classes];
  if (model.empty()) {
    ResNetArchitecture a;
    a.block = ResNetArchitecture::Block::kBasic;
    a.depths = {1, 1, 1, 1};
    a.planes = a.widths = {4, 8, 8, 8};
    a.stem_channels = 4;
    a.num_classes = classes;
    ExportOptions options;
    options.height = options.width = 32;
    model = export_onnx(random_resnet(a, 7), options).serialize();
  }
  return model;
}

class BackendTest : public testing::Test {
 protected:
  BackendTest() {
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("ferry-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    environment.set("FERRY_BACKEND_PATH", folder_.string());
  }
  ~BackendTest() override { std::filesystem::remove_all(folder_); }

  void put(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  /// A fresh copy of the fake module under another file name, so that it is loaded anew.
  void put_fake_as(const std::string& name) {
    std::filesystem::copy_file(std::filesystem::path(FERRY_BINARY_DIR) / "lib/ferry/libferry_fake.so",
                               folder_ / ("libferry_" + name + ".so"));
  }

  Environment environment;
  std::filesystem::path folder_;
};

/// The Error that `body` throws; a test failure if it throws none.
template <typename Body>
Error error_of(Body body) {
  try {
    body();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "no Error was thrown";
  return Error(Stage::kUsage, "", "nothing");
}

}  // namespace ferry
