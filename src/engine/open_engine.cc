// Opening an engine file: nothing runs before it has been shown to be what its sidecar says.
#include <fmt/format.h>

#include <filesystem>
#include <future>

#include "base/files.h"
#include "engine/choose.h"
#include "engine/commands.h"
#include "engine/onnx_digest.h"
#include "engine/open_model.h"
#include "engine/probe.h"
#include "ferry/error.h"

namespace ferry {
namespace {

struct Plan {
  std::string bytes, digest;
};

Plan read_plan(const std::string& path) {
  Plan plan;
  plan.bytes = read_file(path, Stage::kOpen);
  plan.digest = sha256(plan.bytes);
  return plan;
}

[[noreturn]] void refuse(const Sidecar& s, const std::string& path, const std::string& cause,
                         const std::string& hint = {}) {
  throw Error(Stage::kOpen, path, cause, hint.empty() ? "Build it again: " + rebuild_command(s, path) : hint);
}

Backend load_backend(const Sidecar& s, const std::string& path) {
  try {
    Backend backend = Backend::load(s.backend);
    if (!backend.info().usable)
      refuse(s, path, fmt::format("{} cannot run here: {}", backend.info().display_name, backend.info().reason),
             backend.info().remedy);
    return backend;
  } catch (const Error& error) {
    if (error.stage() == Stage::kOpen) throw;
    refuse(s, path, fmt::format("it needs the backend {}: {}", s.backend, error.cause()), error.hint());
  }
}

void check_machine(const Sidecar& s, const std::string& path, const BackendInfo& info, int index) {
  if (info.version != s.sdk_version)
    refuse(s, path, fmt::format("it was built with {} {}; here is {}", s.sdk, s.sdk_version, info.version));
  if (s.compute_capability.empty()) return;  // not for a GPU
  const std::optional<Device> device = device_of(info, index);
  if (!device) refuse(s, path, fmt::format("there is no GPU {} here", index), "`ferry doctor` lists the GPUs.");
  if (!covers(s.compute_capability, device->compute_capability))
    refuse(s, path,
           fmt::format("it was built for compute capability {}{}; {} has {}", s.compute_capability,
                       s.gpu.empty() ? "" : " (" + s.gpu + ")", device->name, device->compute_capability));
}

// The ONNX may be gone or elsewhere; if it is where it was, it must be what it was.
void check_onnx(const Sidecar& s, const std::string& path) {
  std::error_code error;
  if (s.onnx_path.empty() || !std::filesystem::exists(s.onnx_path, error)) return;
  if (onnx_digest(s.onnx_path, Stage::kOpen) != s.onnx_sha256)
    refuse(s, path, fmt::format("'{}' has changed since it was built from it", s.onnx_path));
}

void check_proof(const Engine& engine, const Sidecar& s, const std::string& path) {
  try {
    check_precision(s.precision, engine.info().precision_proof_json, path);
  } catch (const Error& error) {
    refuse(s, path, error.cause(), error.hint());
  }
}

void check_behaviour(const Engine& engine, const Sidecar& s, const std::string& path) {
  check_proof(engine, s, path);
  Probe probe = s.probe.value_or(Probe{});
  if (!s.probe && !s.profiles.empty()) probe.batch = s.profiles.front().min;
  const std::string failure = probe_failure(probe_answer(engine, probe), probe);
  if (!failure.empty()) refuse(s, path, failure);
}

Engine open_plan(const std::string& path, const OpenOptions& options, const Log& log) {
  const Sidecar sidecar = read_sidecar(path);
  // Reading and hashing overlap with loading the SDK, and end before the SDK sees a byte of the plan.
  std::future<Plan> reading = std::async(std::launch::async, read_plan, path);
  const Backend backend = load_backend(sidecar, path);
  check_machine(sidecar, path, backend.info(), options.device);
  check_onnx(sidecar, path);
  const Plan plan = reading.get();
  if (plan.digest != sidecar.plan_sha256)
    refuse(sidecar, path, fmt::format("it is not the plan that '{}' describes (SHA-256 differs)", sidecar_path(path)));
  try {
    const Engine engine = backend.open_plan(plan.bytes, options, log);
    check_behaviour(engine, sidecar, path);
    return engine;
  } catch (const Error& error) {
    if (error.subject() == path) throw;
    refuse(sidecar, path, fmt::format("{}: {}", error.subject(), error.cause()), error.hint());
  }
}

}  // namespace

Engine open_engine(const std::string& path, const OpenOptions& options, const Log& log) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw Error(Stage::kOpen, path, "there is no such file");
  switch (kind_of(path)) {
    case FileKind::kOnnx:
      return open_onnx_file(path, options, log);
    case FileKind::kCheckpoint:
      return open_checkpoint(path, options, log);
    case FileKind::kPlan:
      break;
  }
  return open_plan(path, options, log);
}

Engine Engine::open(const std::string& path, const OpenOptions& options) { return open_engine(path, options); }

}  // namespace ferry
