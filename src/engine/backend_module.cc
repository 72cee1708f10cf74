// Loading a module and reading its failures.
#include "engine/backend_module.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <map>
#include <mutex>

namespace ferry {
namespace {

int write_into(void* user, const void* data, std::size_t size) {
  try {
    static_cast<std::string*>(user)->append(static_cast<const char*>(data), size);
    return 0;
  } catch (...) {
    return 1;  // out of memory: the entry fails and says so
  }
}

const ferry_backend_api* open_table(const std::string& file) {
  // LOCAL: two SDKs may carry the same library in two versions. NOW: a missing symbol is found here, not mid-run.
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw Error(Stage::kBackend, file, fmt::format("the module does not load: {}", dlerror()));
  const auto entry = reinterpret_cast<ferry_backend_fn>(dlsym(handle, FERRY_BACKEND_SYMBOL));
  if (entry == nullptr)
    throw Error(Stage::kBackend, file, "this library is no ferry module: it exports no " FERRY_BACKEND_SYMBOL);
  const ferry_backend_api* api = entry(FERRY_BACKEND_ABI);
  if (api == nullptr) throw Error(Stage::kBackend, file, "the module returned no table of functions");
  if (api->abi != FERRY_BACKEND_ABI)
    throw Error(Stage::kBackend, file,
                fmt::format("the module speaks ABI {}, this ferry speaks ABI {}", api->abi, FERRY_BACKEND_ABI),
                "Build both from the same release of ferry.");
  if (api->struct_size < sizeof(ferry_backend_api))
    throw Error(Stage::kBackend, file,
                fmt::format("the module's table has {} bytes, ABI {} has {}", api->struct_size, FERRY_BACKEND_ABI,
                            sizeof(ferry_backend_api)),
                "Build both from the same release of ferry.");
  return api;
}

std::string text_or_empty(const char* text) { return text == nullptr ? std::string() : std::string(text); }

}  // namespace

ferry_sink sink_into(std::string& out) { return {&write_into, &out}; }

std::shared_ptr<const Module> Module::load(const std::string& file) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const Module>>* loaded =
      new std::map<std::string, std::shared_ptr<const Module>>();  // outlives every static destructor
  const std::lock_guard lock(mutex);
  std::shared_ptr<const Module>& module = (*loaded)[file];
  if (!module) module.reset(new Module(file, open_table(file)));
  return module;
}

std::string Module::describe() const {
  std::string json;
  check(api_->describe(sink_into(json)), Stage::kBackend, file_);
  return json;
}

std::string Module::supported() const {
  std::string json;
  check(api_->supported(sink_into(json)), Stage::kBackend, file_);
  return json;
}

void Module::check(ferry_status status, Stage stage, const std::string& name) const {
  if (status == FERRY_OK) return;
  if (status == FERRY_CANCELLED) throw Error(Stage::kInterrupted, name, "cancelled");
  ferry_failure failure{};
  api_->last_error(&failure);
  const std::string subject = text_or_empty(failure.subject);
  std::string cause = text_or_empty(failure.cause);
  if (cause.empty())
    cause = fmt::format("the module failed with status {} and gave no reason", static_cast<int>(status));
  throw Error(stage, subject.empty() ? name : fmt::format("{}, {}", name, subject), cause, text_or_empty(failure.hint));
}

ferry_log Callbacks::log() { return {log_ ? &on_line : nullptr, this}; }

ferry_progress Callbacks::progress() { return {progress_ ? &on_step : nullptr, this}; }

void Callbacks::on_line(void* user, int severity, const char* text) {
  try {
    static_cast<Callbacks*>(user)->log_(severity, text_or_empty(text));
  } catch (...) {
    return;  // a log line that cannot be shown stops no build
  }
}

int Callbacks::on_step(void* user, const char* phase, std::int64_t done, std::int64_t total) {
  auto* self = static_cast<Callbacks*>(user);
  try {
    return self->progress_(text_or_empty(phase), done, total) ? 0 : 1;
  } catch (...) {
    self->failure_ = std::current_exception();
    return 1;
  }
}

void Callbacks::rethrow() {
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

}  // namespace ferry
