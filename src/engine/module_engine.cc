// An engine of one module, and its sessions: calls through the C interface, and what they failed of.
#include <limits>

#include "engine/backend_impl.h"

namespace ferry {
namespace {

class ModuleSession final : public Session::Impl {
 public:
  ModuleSession(std::shared_ptr<Engine::Impl> of, const ModuleEngine& module) : Impl(std::move(of)), module_(module) {
    module_.check(module_.api().open_session(module_.handle, &handle_), Stage::kRun);
  }
  ~ModuleSession() override {
    if (handle_ != nullptr) module_.api().close_session(handle_);
  }

  void staging(std::int64_t batch, void** inputs, void** outputs) override {
    module_.check(module_.api().staging(handle_, batch, inputs, outputs), Stage::kRun);
  }
  void submit(const ferry_run_args& args) override { module_.check(module_.api().submit(handle_, &args), Stage::kRun); }
  void wait(ferry_times* times) override { module_.check(module_.api().wait(handle_, times), Stage::kRun); }

  std::optional<LayerProfile> profile(std::int64_t batch, int runs) override {
    if (module_.api().profile == nullptr) return std::nullopt;
    std::string json;
    const ferry_status status = module_.api().profile(handle_, batch, runs, sink_into(json));
    if (status == FERRY_UNSUPPORTED) return std::nullopt;
    module_.check(status, Stage::kMeasure);
    return read_profile(json, module_.backend->info);
  }

  void* image_staging(std::uint64_t size) override {
    require_images(engine->info, module_.api().image_staging != nullptr);
    void* memory = nullptr;
    module_.check(module_.api().image_staging(handle_, size, &memory), Stage::kRun);
    return memory;
  }
  void submit_images(const ferry_images_args& args) override {
    require_images(engine->info, module_.api().submit_images != nullptr);
    module_.check(module_.api().submit_images(handle_, &args), Stage::kRun);
  }

 private:
  const ModuleEngine& module_;  // the same as `engine`
  ferry_session* handle_ = nullptr;
};

}  // namespace

ModuleEngine::~ModuleEngine() {
  if (handle != nullptr) api().close(handle);
}

std::shared_ptr<Session::Impl> ModuleEngine::new_session(const std::shared_ptr<Impl>& self) {
  return std::make_shared<ModuleSession>(self, *this);
}

std::optional<Telemetry> ModuleEngine::telemetry() const {
  if (api().telemetry == nullptr) return std::nullopt;
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  ferry_telemetry now{kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, 0};
  const ferry_status status = api().telemetry(handle, &now);
  if (status == FERRY_UNSUPPORTED) return std::nullopt;  // an engine on the CPU of a module that also has GPU engines
  check(status, Stage::kMeasure);
  return Telemetry{now.sm_clock_mhz,      now.memory_clock_mhz,   now.temperature_c,   now.power_w,
                   now.memory_used_bytes, now.memory_total_bytes, now.throttle_reasons};
}

}  // namespace ferry
