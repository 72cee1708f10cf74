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

struct Engine::Impl {
  explicit Impl(std::shared_ptr<const Backend::Impl> from) : backend(std::move(from)) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();

  void check(ferry_status status, Stage stage) const {
    backend->module->check(status, stage, backend->info.display_name);
  }
  const ferry_backend_api& api() const { return backend->module->api(); }

  std::shared_ptr<const Backend::Impl> backend;
  ferry_engine* handle = nullptr;
  std::unique_ptr<Callbacks> callbacks;  // the SDK may log as long as the engine lives
  EngineInfo info;
};

}  // namespace ferry
