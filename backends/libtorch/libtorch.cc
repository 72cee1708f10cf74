// LibTorch, the reference: builds torchvision's network from the weights. This module answers what it is and what is
// here without loading LibTorch; everything else goes to the implementation.
#include <algorithm>
#include <limits>

#include "libtorch/lazy.h"
#include "module/cpu.h"
#if FERRY_TORCH_CUDA
#include "cuda_support/devices.h"
#endif
#if __has_include(<torch/headeronly/version.h>)
#include <torch/headeronly/version.h>
#else
#include <torch/csrc/api/include/torch/version.h>
#endif

using ferry::libtorch::implementation;
using ferry::module::guard;
using nlohmann::json;

namespace {

/// On failure, takes the implementation's last error over as this module's.
template <typename Call>
ferry_status forward(Call call) noexcept {
  ferry_status status = FERRY_OK;
  const ferry_status loaded = guard([&] {
    status = call(implementation());
    if (status == FERRY_OK) return;
    ferry_failure failure{};
    implementation().last_error(&failure);
    ferry::module::last_error() = {failure.subject, failure.cause, failure.hint};
  });
  return loaded == FERRY_OK ? status : loaded;
}

ferry_status describe(ferry_sink sink) {
  return guard([&] {
    ferry::module::write(sink, json{{"name", "libtorch"},
                                    {"display_name", "LibTorch"},
                                    {"opens", {"weights"}},
                                    {"builds", false},
                                    {"kind", FERRY_TORCH_CUDA ? "gpu+cpu" : "cpu"},
                                    {"reference", true},
                                    {"precisions", FERRY_TORCH_CUDA ? json{"fp32", "fp16"} : json{"fp32"}},
                                    {"compiled_against", TORCH_VERSION}});
  });
}

json devices_json() {
  json devices = json::array();
#if FERRY_TORCH_CUDA
  for (const ferry::cuda::DeviceInfo& d : ferry::cuda::devices().devices)
    devices.push_back({{"kind", "gpu"},
                       {"index", d.index},
                       {"name", d.name},
                       {"compute_capability", d.compute_capability()},
                       {"memory_bytes", d.memory_bytes},
                       {"driver", d.driver},
                       {"cuda", d.cuda}});
#endif
  devices.push_back({{"kind", "cpu"}, {"index", 0}, {"name", ferry::module::cpu_name()}});
  return devices;
}

ferry_status supported(ferry_sink sink) {
  return guard([&] {
    const std::string library = ferry::libtorch::library_file();
    json answer{{"usable", true}, {"can_build", false}, {"library", library}, {"version", TORCH_VERSION}};
    if (library.empty() || ferry::libtorch::implementation_file().empty()) {
      answer["usable"] = false;
      const std::string linked = ferry::libtorch::own_torch();
      answer["reason"] = library.empty() ? "libtorch_cpu.so is in neither " FERRY_TORCH_LIB " nor " + linked + "/lib"
                                         : "libferry_libtorch_impl.so is not beside the module";
      answer["remedy"] = "python3 -m pip install --user torch==" TORCH_VERSION
                         " && ln -s \"$(python3 -c 'import torch; print(torch.__path__[0])')\" " +
                         linked + " (or run setup/install in ferry's source and build again)";
    }
    answer["devices"] = devices_json();
    ferry::module::write(sink, answer);
  });
}

ferry_status open(const ferry_open_args* args, ferry_engine** engine) {
  return forward([&](const ferry_backend_api& to) { return to.open(args, engine); });
}
ferry_status io(ferry_engine* engine, ferry_sink sink) {
  return forward([&](const ferry_backend_api& to) { return to.io(engine, sink); });
}
ferry_status open_session(ferry_engine* engine, ferry_session** session) {
  return forward([&](const ferry_backend_api& to) { return to.open_session(engine, session); });
}
ferry_status staging(ferry_session* session, int64_t batch, void** inputs, void** outputs) {
  return forward([&](const ferry_backend_api& to) { return to.staging(session, batch, inputs, outputs); });
}
ferry_status submit(ferry_session* session, const ferry_run_args* args) {
  return forward([&](const ferry_backend_api& to) { return to.submit(session, args); });
}
ferry_status wait(ferry_session* session, ferry_times* times) {
  return forward([&](const ferry_backend_api& to) { return to.wait(session, times); });
}
ferry_status telemetry(ferry_engine* engine, ferry_telemetry* now) {
  return forward([&](const ferry_backend_api& to) { return to.telemetry(engine, now); });
}
// A handle exists only once the implementation is loaded.
void close_session(ferry_session* session) { implementation().close_session(session); }
void close(ferry_engine* engine) { implementation().close(engine); }

}  // namespace

extern "C" __attribute__((visibility("default"))) const ferry_backend_api* ferry_backend(std::uint32_t) {
  static const ferry_backend_api api{FERRY_BACKEND_ABI,
                                     sizeof(ferry_backend_api),
                                     describe,
                                     supported,
                                     nullptr,  // build: there are no engine files
                                     open,
                                     io,
                                     open_session,
                                     staging,
                                     submit,
                                     wait,
                                     close_session,
                                     close,
                                     telemetry,
                                     ferry::module::report_last_error,
                                     nullptr,   // profile
                                     nullptr,   // image_staging
                                     nullptr};  // submit_images
  return &api;
}
