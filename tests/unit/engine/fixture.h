// A cache and a folder of its own for each test, a small network as ONNX, and the fake backend, failing on demand.
#pragma once

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "ferry/engine_file.h"
#include "ferry/error.h"
#include "ferry/files.h"
#include "ferry/resnet.h"

namespace ferry {

inline ResNetArchitecture tiny_architecture() {
  ResNetArchitecture a;
  a.block = ResNetArchitecture::Block::kBasic;
  a.depths = {1, 1, 1, 1};
  a.planes = a.widths = {4, 4, 8, 8};
  a.stem_channels = 4;
  a.num_classes = 10;
  return a;
}

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class EngineFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("ferry engine " + std::to_string(::getpid()));  // with a space
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    set("XDG_CACHE_HOME", (folder_ / "cache").string());
    for (const char* name : {"FERRY_FAKE_FAIL", "FERRY_FAKE_MODE", "FERRY_FAKE_GPU", "FERRY_FAKE_VERSION"})
      ::unsetenv(name);
    onnx_ = path("model.onnx");
    export_tiny(onnx_, 1);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  static void export_tiny(const std::string& path, std::uint64_t seed, Precision precision = Precision::kFp32) {
    ExportOptions options;
    options.precision = precision;
    options.height = options.width = 32;
    export_onnx(random_resnet(tiny_architecture(), seed), options).save(path);
  }

  BuildRequest request(const std::string& plan = {}) const {
    BuildRequest r;
    r.onnx_path = onnx_;
    r.plan_path = plan;
    r.backend = "fake";
    return r;
  }

  /// Every file below `folder`, without the cache's locks and remembered facts.
  std::vector<std::string> files(const std::string& folder) const {
    std::vector<std::string> names;
    if (!std::filesystem::exists(folder)) return names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      const std::string name = entry.path().string();
      if (entry.is_regular_file() && name.find("/locks/") == std::string::npos &&
          name.find("/facts/") == std::string::npos && name.find("/timing/") == std::string::npos)
        names.push_back(name);
    }
    return names;
  }

  /// The Error that `work` throws; fails the test if it throws none.
  template <class Work>
  static Error error_of(Work&& work) {
    try {
      work();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "nothing was thrown";
    return Error(Stage::kUsage, "", "");
  }

  std::filesystem::path folder_;
  std::string onnx_;
};

}  // namespace ferry
