// Modules: finding them, loading them, and speaking to them in C++. Nothing above this knows the C interface.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend_abi.h"
#include "ferry/backend.h"
#include "ferry/error.h"

namespace ferry {

/// What NAME.json beside the modules says (backends/NAME/module.json): the facts known even where the module is absent.
struct ModuleFacts {
  BackendInfo info;
  int preference = 1000;  // place in Backend::list, smallest first
  bool test = false;      // loaded only by name, never listed
};

/// Facts of every module in the search path; the first folder that knows a name wins. Unreadable files are skipped.
std::vector<ModuleFacts> module_facts(const std::vector<std::string>& path);

/// A loaded module. Never unloaded: SDKs leave threads and thread-local destructors behind.
class Module {
 public:
  /// Loads libferry_NAME.so from the first folder that has it, once per process. Throws Error(kBackend): the loader's
  /// message, or both ABI numbers.
  static std::shared_ptr<const Module> load(const std::string& file);

  const std::string& file() const noexcept { return file_; }
  const ferry_backend_api& api() const noexcept { return *api_; }
  /// What `describe` and `supported` write.
  std::string describe() const;
  std::string supported() const;

  /// Throws Error for anything but FERRY_OK, from the module's last_error; `name` stands for the module in messages.
  void check(ferry_status status, Stage stage, const std::string& name) const;

 private:
  Module(std::string file, const ferry_backend_api* api) : file_(std::move(file)), api_(api) {}
  std::string file_;
  const ferry_backend_api* api_;
};

/// The file of a module, or empty.
std::string find_module(const std::string& name, const std::vector<std::string>& path);

/// Fills `info` from what a module says about itself and about this machine.
void read_description(const std::string& describe, BackendInfo& info);
void read_support(const std::string& supported, BackendInfo& info);
/// What `io` says.
EngineInfo read_io(const std::string& io, const BackendInfo& backend);
/// What `profile` says, with floors.
LayerProfile read_profile(const std::string& profile, const BackendInfo& backend);

/// A sink that collects into `out`.
ferry_sink sink_into(std::string& out);

/// A log and a progress callback as C callbacks. Exceptions stop at the border: `rethrow` throws what a callback threw.
class Callbacks {
 public:
  Callbacks(Progress progress, Log log) : progress_(std::move(progress)), log_(std::move(log)) {}
  Callbacks(const Callbacks&) = delete;
  Callbacks& operator=(const Callbacks&) = delete;

  ferry_log log();
  ferry_progress progress();
  void rethrow();

 private:
  static void on_line(void* user, int severity, const char* text);
  static int on_step(void* user, const char* phase, std::int64_t done, std::int64_t total);
  Progress progress_;
  Log log_;
  std::exception_ptr failure_;
};

}  // namespace ferry
