// A backend module through its C interface, as tests want it: failures are exceptions, handles close themselves.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend_abi.h"

namespace ferry::testing {

struct ModuleError : std::runtime_error {
  ModuleError(ferry_status s, const ferry_failure& f)
      : std::runtime_error(std::string(f.subject) + ": " + f.cause + "; " + f.hint),
        status(s),
        subject(f.subject),
        cause(f.cause),
        hint(f.hint) {}
  ferry_status status;
  std::string subject, cause, hint;
};

struct BuildOutput {
  std::string plan, report, timing_cache;
  std::vector<std::int64_t> progress;  // `done` of each report, out of 1000
  std::vector<std::string> log;
};

struct BuildInput {
  std::string onnx, options;
  std::string timing_cache{};
  std::function<bool(std::int64_t done)> go_on = [](std::int64_t) { return true; };
  bool disk_full = false;  // the plan's sink refuses
};

class Module {
 public:
  /// lib<name>.so in $FERRY_BACKEND_PATH, `folder`, or ../../lib/ferry beside the program; nullptr if it is in none.
  static std::unique_ptr<Module> load(const std::string& name, const std::string& folder = {});

  std::string describe() const;
  std::string supported() const;
  /// What got through the sinks is in `output` even when this throws.
  void build(const BuildInput& input, BuildOutput& output) const;
  BuildOutput build(const BuildInput& input) const {
    BuildOutput output;
    build(input, output);
    return output;
  }
  /// Throws ModuleError unless ok.
  void check(ferry_status status) const;
  const ferry_backend_api& api() const { return *api_; }

 private:
  const ferry_backend_api* api_ = nullptr;
};

class OpenedEngine {
 public:
  OpenedEngine(const Module& module, const std::string& plan, const std::string& options = "{}");
  OpenedEngine(const OpenedEngine&) = delete;
  ~OpenedEngine();
  std::string io() const;
  ferry_engine* handle() const { return engine_; }
  const Module& module() const { return module_; }
  std::vector<std::string> warnings;

 private:
  const Module& module_;
  ferry_engine* engine_ = nullptr;
};

/// One input, one output, both float32.
class OpenedSession {
 public:
  explicit OpenedSession(const OpenedEngine& engine);
  OpenedSession(const OpenedSession&) = delete;
  ~OpenedSession();
  /// The output buffer is poisoned with NaN before.
  std::vector<float> run(const std::vector<float>& input, std::int64_t batch, std::size_t outputs,
                         ferry_times* times = nullptr);
  std::vector<float> run_resident(std::int64_t batch, std::size_t outputs, ferry_times* times = nullptr);
  /// Through the pinned staging memory.
  std::vector<float> run_staged(const std::vector<float>& input, std::int64_t batch, std::size_t outputs,
                                ferry_times* times = nullptr);
  ferry_session* handle() const { return session_; }

 private:
  const Module& module_;
  ferry_session* session_ = nullptr;
};

}  // namespace ferry::testing
