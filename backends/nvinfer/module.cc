// The C interface of the modules that open plans on a GPU: each entry calls one function, and no exception leaves it.
#include <memory>
#include <string>

#include "backend_abi.h"
#include "cuda_support/error.h"
#include "nvinfer/failure.h"
#include "nvinfer/gpu_engine.h"
#include "nvinfer/io_json.h"
#include "nvinfer/session.h"
#include "nvinfer/sink.h"

struct ferry_engine {
  std::shared_ptr<ferry::nvinfer::GpuEngine> engine;
};

struct ferry_session {
  std::shared_ptr<ferry::nvinfer::GpuEngine> engine;  // sessions keep their engine alive
  std::unique_ptr<ferry::nvinfer::Session> session;
};

namespace ferry::nvinfer {
namespace {

struct LastError {
  std::string subject, cause, hint;
};

LastError& last_error() {
  thread_local LastError error;
  return error;
}

ferry_status keep(const Failure& failure) {
  last_error() = {failure.subject, failure.cause, failure.hint};
  return failure.status;
}

Failure from_cuda(const cuda::Error& error) {
  if (error.out_of_memory()) {
    return {"GPU memory", error.what(),
            "close what else uses the GPU (nvidia-smi lists it), use smaller batches or fewer sessions"};
  }
  if (error.sticky()) return {"GPU", error.what(), "the GPU's context is lost: restart the program"};
  return {"GPU", error.what(), "run with --verbose, and check nvidia-smi and the system's log (dmesg) for Xid errors"};
}

template <typename Work>
ferry_status guard(const Work& work) noexcept {
  try {
    work();
    return FERRY_OK;
  } catch (const Failure& failure) {
    return keep(failure);
  } catch (const cuda::Error& error) {
    return keep(from_cuda(error));
  } catch (const cuda::Unavailable& unavailable) {
    return keep({"GPU", unavailable.what(), unavailable.remedy(), FERRY_UNSUPPORTED});
  } catch (const std::bad_alloc&) {
    return keep({"", "out of host memory", ""});
  } catch (const std::exception& error) {
    return keep({"", std::string("internal error: ") + error.what(), "please report this"});
  } catch (...) {
    return keep({"", "internal error of unknown kind", "please report this"});
  }
}

template <typename Args>
const Args& checked(const Args* args) {
  if (args != nullptr && args->struct_size >= sizeof(Args)) return *args;
  throw Failure("backend interface", "the caller was compiled with an older backend_abi.h",
                "build ferry and its modules together");
}

ferry_status describe(ferry_sink json) {
  return guard([&] { write_to(json, describe_json(), "the description"); });
}

ferry_status supported(ferry_sink json) {
  return guard([&] { write_to(json, supported_json(), "the description"); });
}

ferry_status build_plan(const ferry_build_args* args) {
  return guard([&] { build(checked(args)); });
}

ferry_status open(const ferry_open_args* args, ferry_engine** engine) {
  return guard([&] { *engine = new ferry_engine{open_engine(checked(args))}; });
}

ferry_status io(ferry_engine* engine, ferry_sink json) {
  return guard([&] {
    const cuda::Current current(engine->engine->context());
    write_to(json, io_json(*engine->engine), "the description");
  });
}

ferry_status open_session(ferry_engine* engine, ferry_session** session) {
  return guard([&] {
    const std::shared_ptr<GpuEngine>& shared = engine->engine;
    const cuda::Current current(shared->context());
    // The engine outlives the session, so it may be referred to.
    const Session::Say say = [engine = shared.get()](int severity, const std::string& line) {
      engine->say(severity, line);
    };
    auto opened = std::make_unique<ferry_session>();
    opened->session = std::make_unique<Session>(*shared, shared->options(), say);
    opened->engine = shared;
    *session = opened.release();
  });
}

ferry_status staging(ferry_session* session, int64_t batch, void** inputs, void** outputs) {
  return guard([&] {
    const cuda::Current current(session->engine->context());
    session->session->staging(batch, inputs, outputs);
  });
}

ferry_status submit(ferry_session* session, const ferry_run_args* args) {
  return guard([&] {
    const cuda::Current current(session->engine->context());
    session->session->submit(checked(args));
  });
}

ferry_status image_staging(ferry_session* session, uint64_t size, void** memory) {
  return guard([&] {
    const cuda::Current current(session->engine->context());
    *memory = session->session->image_staging(size);
  });
}

ferry_status submit_images(ferry_session* session, const ferry_images_args* args) {
  return guard([&] {
    const cuda::Current current(session->engine->context());
    session->session->submit_images(checked(args));
  });
}

ferry_status wait(ferry_session* session, ferry_times* times) {
  return guard([&] {
    const cuda::Current current(session->engine->context());
    session->session->wait(times);
  });
}

ferry_status profile(ferry_session* session, int64_t batch, int32_t runs, ferry_sink json) {
  return guard([&] {
    const cuda::Current current(session->engine->context());
    nlohmann::json profile = session->session->profile(batch, runs);
    profile["peaks"] = peaks_json(session->engine->device().index);
    write_to(json, profile.dump(), "the profile");
  });
}

void close_session(ferry_session* session) {
  if (session == nullptr) return;
  guard([&] {
    const cuda::Current current(session->engine->context());
    session->session.reset();
  });
  guard([&] { delete session; });
}

void close(ferry_engine* engine) {
  guard([&] { delete engine; });
}

ferry_status telemetry(ferry_engine* engine, ferry_telemetry* now) {
  return guard([&] {
    const cuda::Telemetry t = engine->engine->telemetry();
    *now = {t.sm_clock_mhz,      t.memory_clock_mhz,   t.temperature_c,   t.power_w,
            t.memory_used_bytes, t.memory_total_bytes, t.throttle_reasons};
  });
}

void copy_last_error(ferry_failure* failure) {
  const LastError& error = last_error();
  *failure = {error.subject.c_str(), error.cause.c_str(), error.hint.c_str()};
}

}  // namespace
}  // namespace ferry::nvinfer

extern "C" __attribute__((visibility("default"))) const ferry_backend_api* ferry_backend(uint32_t) {
  using namespace ferry::nvinfer;
  static const ferry_backend_api api = {FERRY_BACKEND_ABI,
                                        sizeof(ferry_backend_api),
                                        describe,
                                        supported,
                                        build_plan,
                                        open,
                                        io,
                                        open_session,
                                        staging,
                                        submit,
                                        wait,
                                        close_session,
                                        close,
                                        telemetry,
                                        copy_last_error,
                                        profile,
                                        image_staging,
                                        submit_images};
  return &api;
}
