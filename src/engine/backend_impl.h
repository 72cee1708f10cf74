// What Backend, Engine and Session hold.
#pragma once

#include "engine/backend_module.h"

namespace ferry {

/// Asks a module about itself and about this machine; `info` holds the facts so far. Throws Error(kBackend).
BackendInfo inspect_module(const Module& module, BackendInfo info);

struct Backend::Impl {
  BackendInfo info;
  std::shared_ptr<const Module> module;
};

/// An engine of whatever kind: one module's, or several behind one (plan_set.h). Requests are checked before they come
/// here.
struct Engine::Impl {
  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  virtual ~Impl() = default;
  /// Keeps the engine alive; so it needs to be asked with the pointer that owns it.
  virtual std::shared_ptr<Session::Impl> new_session(const std::shared_ptr<Impl>& self) = 0;
  virtual std::optional<Telemetry> telemetry() const = 0;
  static const std::shared_ptr<Impl>& of(const Engine& engine) { return engine.impl_; }

  EngineInfo info;
};

/// What a module gives to one stream of requests; each entry as in backend_abi.h. Throws Error.
struct Session::Impl {
  explicit Impl(std::shared_ptr<Engine::Impl> of)
      : engine(std::move(of)), in(engine->info.inputs.size()), out(engine->info.outputs.size()) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  virtual ~Impl() = default;
  virtual void staging(std::int64_t batch, void** inputs, void** outputs) = 0;
  virtual void submit(const ferry_run_args& args) = 0;
  virtual void wait(ferry_times* times) = 0;
  virtual std::optional<LayerProfile> profile(std::int64_t batch, int runs) = 0;
  virtual void* image_staging(std::uint64_t size) = 0;
  virtual void submit_images(const ferry_images_args& args) = 0;

  std::shared_ptr<Engine::Impl> engine;
  std::vector<const void*> in;  // of the request under way: a request allocates nothing
  std::vector<void*> out;
};

/// Throws Error(kRun) for an engine without EngineInfo::images.
void require_images(const EngineInfo& info, bool entry = true);

/// An engine of one module.
struct ModuleEngine final : Engine::Impl {
  explicit ModuleEngine(std::shared_ptr<const Backend::Impl> from) : backend(std::move(from)) {}
  ~ModuleEngine() override;
  std::shared_ptr<Session::Impl> new_session(const std::shared_ptr<Impl>& self) override;
  std::optional<Telemetry> telemetry() const override;

  void check(ferry_status status, Stage stage) const {
    backend->module->check(status, stage, backend->info.display_name);
  }
  const ferry_backend_api& api() const { return backend->module->api(); }

  std::shared_ptr<const Backend::Impl> backend;
  ferry_engine* handle = nullptr;
  std::unique_ptr<Callbacks> callbacks;  // the SDK may log as long as the engine lives
};

}  // namespace ferry
