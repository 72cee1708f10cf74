// OpenVINO on the CPU: opens ONNX models of any precision. No engine files, no telemetry.
#include <dlfcn.h>

#include <algorithm>

#include "module/cpu.h"
#include "openvino/engine.h"

using ferry::module::Failure;
using ferry::module::guard;
using nlohmann::json;

namespace {

/// OpenVINO's exceptions carry source positions; users get the message.
template <typename Body>
ferry_status guarded(Body body) noexcept {
  return guard([&] {
    try {
      body();
    } catch (const ov::Exception& e) {
      throw Failure("", ferry::openvino::clean_message(e.what()));
    }
  });
}

ferry_status describe(ferry_sink sink) {
  return guarded([&] {
    ferry::module::write(sink, json{{"name", "openvino"},
                                    {"display_name", "OpenVINO"},
                                    {"opens", {"onnx"}},
                                    {"builds", false},
                                    {"kind", "cpu"},
                                    {"reference", false},
                                    {"precisions", {"fp32", "fp16", "int8"}},
                                    {"compiled_against", ferry::openvino::compiled_against()}});
  });
}

ferry_status supported(ferry_sink sink) {
  return guarded([&] {
    Dl_info library{};
    dladdr(reinterpret_cast<const void*>(&ov::get_openvino_version), &library);
    ferry::module::write(
        sink, json{{"usable", true},
                   {"can_build", false},
                   {"library", library.dli_fname == nullptr ? "" : library.dli_fname},
                   {"version", ferry::openvino::version()},
                   {"devices", json::array({{{"kind", "cpu"}, {"index", 0}, {"name", ferry::module::cpu_name()}}})}});
  });
}

ferry_status open(const ferry_open_args* args, ferry_engine** engine) {
  return guarded([&] {
    // `precision` and `graphs` say nothing here: the precision is the graph's, and a CPU has no CUDA graphs.
    const json options = ferry::module::options(
        args->options_json, {"device", "precision", "threads", "graphs", "prefer_cpu", "layer_info"});
    if (args->onnx == nullptr) throw Failure("", "OpenVINO opens ONNX models only", "", FERRY_UNSUPPORTED);
    if (const int device = options.value("device", 0); device != 0)
      throw Failure("device", "there is only CPU 0, and " + std::to_string(device) + " was asked for");
    const int threads = options.value("threads", 0);
    if (threads < 0) throw Failure("threads", "a number of threads cannot be negative");
    *engine = new ferry_engine{ferry::openvino::compile(args->onnx, args->onnx_size, threads, args->log)};
  });
}

ferry_status io(ferry_engine* engine, ferry_sink sink) {
  return guarded([&] { ferry::module::write(sink, ferry::openvino::describe_engine(engine->model)); });
}

ferry_status open_session(ferry_engine* engine, ferry_session** session) {
  return guarded([&] { *session = new ferry_session(engine->model); });
}

ferry_status staging(ferry_session* session, int64_t batch, void** inputs, void** outputs) {
  return guarded([&] { session->staging(batch, inputs, outputs); });
}

ferry_status submit(ferry_session* session, const ferry_run_args* args) {
  return guarded([&] {
    if (session->running) throw Failure("", "the session already has a request under way");
    if (args->flags & FERRY_RUN_RESIDENT) throw Failure("", "a CPU engine has no resident mode", "", FERRY_UNSUPPORTED);
    session->run(args->batch, args->inputs, args->outputs);
    session->running = true;
  });
}

ferry_status wait(ferry_session* session, ferry_times* times) {
  return guarded([&] {
    if (!session->running) throw Failure("", "there is no request to wait for");
    session->running = false;
    if (times != nullptr) *times = {session->compute_ms, 0, session->compute_ms, 0};
  });
}

void close_session(ferry_session* session) { delete session; }
void close(ferry_engine* engine) { delete engine; }

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
                                     nullptr,  // telemetry: a CPU tells nothing portable
                                     ferry::module::report_last_error,
                                     nullptr,   // profile
                                     nullptr,   // image_staging
                                     nullptr};  // submit_images
  return &api;
}
