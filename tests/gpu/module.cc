#include "gpu/module.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <sstream>

namespace ferry::testing {
namespace {

int append(void* text, const void* data, size_t size) {
  static_cast<std::string*>(text)->append(static_cast<const char*>(data), size);
  return 0;
}
int refuse(void*, const void*, size_t) { return 1; }

ferry_sink sink(std::string& text) { return {append, &text}; }

std::vector<std::string> folders(const std::string& named) {
  std::vector<std::string> result;
  const char* path = std::getenv("FERRY_BACKEND_PATH");
  std::istringstream list(path == nullptr ? "" : path);
  for (std::string folder; std::getline(list, folder, ':');) result.push_back(folder);
  if (!named.empty()) result.push_back(named);
  const auto program = std::filesystem::read_symlink("/proc/self/exe");
  result.push_back(program.parent_path() / "../../lib/ferry");
  return result;
}

struct BuildCall {
  const BuildInput& input;
  BuildOutput& output;
};

int on_progress(void* user, const char*, int64_t done, int64_t) {
  const auto* call = static_cast<BuildCall*>(user);
  call->output.progress.push_back(done);
  return call->input.go_on(done) ? 0 : 1;
}
void on_log(void* user, int severity, const char* line) {
  if (severity <= 1) static_cast<BuildCall*>(user)->output.log.emplace_back(line);
}
void on_open_log(void* user, int severity, const char* line) {
  if (severity <= 1) static_cast<OpenedEngine*>(user)->warnings.emplace_back(line);
}

}  // namespace

std::unique_ptr<Module> Module::load(const std::string& name, const std::string& folder) {
  for (const std::string& place : folders(folder)) {
    const std::string path = place + "/libferry_" + name + ".so";
    if (!std::filesystem::exists(path)) continue;
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw std::runtime_error(dlerror());
    const auto entry = reinterpret_cast<ferry_backend_fn>(dlsym(library, FERRY_BACKEND_SYMBOL));
    if (entry == nullptr) throw std::runtime_error(path + " has no " FERRY_BACKEND_SYMBOL);
    auto module = std::make_unique<Module>();
    module->api_ = entry(FERRY_BACKEND_ABI);
    return module;
  }
  return nullptr;
}

void Module::check(ferry_status status) const {
  if (status == FERRY_OK) return;
  ferry_failure failure{};
  api_->last_error(&failure);
  throw ModuleError(status, failure);
}

std::string Module::describe() const {
  std::string json;
  check(api_->describe(sink(json)));
  return json;
}

std::string Module::supported() const {
  std::string json;
  check(api_->supported(sink(json)));
  return json;
}

void Module::build(const BuildInput& input, BuildOutput& output) const {
  BuildCall call{input, output};
  ferry_build_args args{};
  args.struct_size = sizeof args;
  args.onnx = input.onnx.data();
  args.onnx_size = input.onnx.size();
  args.options_json = input.options.c_str();
  args.timing_cache = input.timing_cache.data();
  args.timing_cache_size = input.timing_cache.size();
  args.progress = {on_progress, &call};
  args.log = {on_log, &call};
  args.plan = input.disk_full ? ferry_sink{refuse, nullptr} : sink(output.plan);
  args.timing_cache_out = sink(output.timing_cache);
  args.report_json = sink(output.report);
  check(api_->build(&args));
}

OpenedEngine::OpenedEngine(const Module& module, const std::string& plan, const std::string& options)
    : module_(module) {
  ferry_open_args args{};
  args.struct_size = sizeof args;
  args.plan = plan.data();
  args.plan_size = plan.size();
  args.options_json = options.c_str();
  args.log = {on_open_log, this};
  module.check(module.api().open(&args, &engine_));
}

OpenedEngine::~OpenedEngine() { module_.api().close(engine_); }

std::string OpenedEngine::io() const {
  std::string json;
  module_.check(module_.api().io(engine_, sink(json)));
  return json;
}

OpenedSession::OpenedSession(const OpenedEngine& engine) : module_(engine.module()) {
  module_.check(module_.api().open_session(engine.handle(), &session_));
}

OpenedSession::~OpenedSession() { module_.api().close_session(session_); }

std::vector<float> OpenedSession::run(const std::vector<float>& input, std::int64_t batch, std::size_t outputs,
                                      ferry_times* times) {
  std::vector<float> output(outputs, std::numeric_limits<float>::quiet_NaN());
  const void* in = input.data();
  void* out = output.data();
  ferry_run_args args{sizeof args, batch, &in, &out, 0};
  module_.check(module_.api().submit(session_, &args));
  module_.check(module_.api().wait(session_, times));
  return output;
}

std::vector<float> OpenedSession::run_resident(std::int64_t batch, std::size_t outputs, ferry_times* times) {
  std::vector<float> output(outputs, std::numeric_limits<float>::quiet_NaN());
  void* out = output.data();
  ferry_run_args args{sizeof args, batch, nullptr, &out, FERRY_RUN_RESIDENT | FERRY_RUN_FETCH};
  module_.check(module_.api().submit(session_, &args));
  module_.check(module_.api().wait(session_, times));
  return output;
}

std::vector<float> OpenedSession::run_staged(const std::vector<float>& input, std::int64_t batch, std::size_t outputs,
                                             ferry_times* times) {
  void *in = nullptr, *out = nullptr;
  module_.check(module_.api().staging(session_, batch, &in, &out));
  std::copy(input.begin(), input.end(), static_cast<float*>(in));
  std::fill_n(static_cast<float*>(out), outputs, std::numeric_limits<float>::quiet_NaN());
  const void* const_in = in;
  ferry_run_args args{sizeof args, batch, &const_in, &out, 0};
  module_.check(module_.api().submit(session_, &args));
  module_.check(module_.api().wait(session_, times));
  return {static_cast<float*>(out), static_cast<float*>(out) + outputs};
}

}  // namespace ferry::testing
