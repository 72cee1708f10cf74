// The entries that need LibTorch.
#include <c10/util/Exception.h>

#include "libtorch/engine.h"

using ferry::libtorch::Options;
using ferry::module::Failure;
using ferry::module::guard;

namespace {

/// c10's exceptions carry a C++ stack trace; users get the message.
template <typename Body>
ferry_status guarded(Body body) noexcept {
  return guard([&] {
    try {
      body();
    } catch (const c10::OutOfMemoryError& e) {
      throw Failure("", e.what_without_backtrace(), "Use a smaller batch, or close what else uses the GPU.");
    } catch (const c10::Error& e) {
      throw Failure("", e.what_without_backtrace());
    }
  });
}

ferry_status open(const ferry_open_args* args, ferry_engine** engine) {
  return guarded([&] {
    if (args->weights == nullptr) throw Failure("", "LibTorch opens weights only", "", FERRY_UNSUPPORTED);
    *engine = new ferry_engine(*args, Options::parse(args->options_json));
  });
}

ferry_status io(ferry_engine* engine, ferry_sink sink) {
  return guarded([&] { ferry::module::write(sink, engine->describe()); });
}

ferry_status open_session(ferry_engine* engine, ferry_session** session) {
  return guarded([&] {
#if FERRY_TORCH_CUDA
    if (engine->placement.device.is_cuda()) {
      *session = ferry::libtorch::make_cuda_session(*engine).release();
      return;
    }
#endif
    *session = ferry::libtorch::make_cpu_session(*engine).release();
  });
}

ferry_status staging(ferry_session* session, int64_t batch, void** inputs, void** outputs) {
  return guarded([&] { session->staging(batch, inputs, outputs); });
}

ferry_status submit(ferry_session* session, const ferry_run_args* args) {
  return guarded([&] { session->submit(*args); });
}

ferry_status wait(ferry_session* session, ferry_times* times) {
  return guarded([&] {
    const ferry_times measured = session->wait();
    if (times != nullptr) *times = measured;
  });
}

ferry_status telemetry(ferry_engine* engine, ferry_telemetry* now) {
  return guarded([&] {
#if FERRY_TORCH_CUDA
    if (engine->placement.device.is_cuda()) {
      *now = ferry::libtorch::gpu_telemetry(engine->options.device);
      return;
    }
#endif
    (void)engine, (void)now;
    throw Failure("", "a CPU tells nothing portable", "", FERRY_UNSUPPORTED);
  });
}

void close_session(ferry_session* session) { delete session; }
void close(ferry_engine* engine) { delete engine; }

}  // namespace

extern "C" __attribute__((visibility("default"))) const ferry_backend_api* ferry_backend(std::uint32_t) {
  static const ferry_backend_api api{FERRY_BACKEND_ABI,
                                     sizeof(ferry_backend_api),
                                     nullptr,  // describe and supported: libtorch.cc answers without LibTorch
                                     nullptr,
                                     nullptr,
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
