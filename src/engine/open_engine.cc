// Opening an engine file: nothing runs before it has been shown to be what its sidecar says.
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <future>

#include "base/files.h"
#include "engine/choose.h"
#include "engine/commands.h"
#include "engine/json.h"
#include "engine/onnx_digest.h"
#include "engine/open_model.h"
#include "engine/open_plan_set.h"
#include "engine/probe.h"
#include "engine/remember.h"
#include "ferry/error.h"

namespace ferry {
namespace {

class Stopwatch {
 public:
  double ms() const { return std::chrono::duration<double, std::milli>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

struct Plan {
  std::string bytes, digest;
  bool hashed = true;  // false: the digest is remembered from an earlier look at the same file
  double ms = 0;
};

// The hash of a file that has not changed since it was hashed need not be computed again (see pipeline.h for what
// counts as unchanged). What is read must be what was looked at.
Plan read_plan(const std::string& path) {
  const Stopwatch watch;
  Plan plan;
  const std::string before = stamp_of(path, Stage::kOpen);
  plan.bytes = read_file(path, Stage::kOpen);
  plan.digest = recall(path, "sha256");
  plan.hashed = plan.digest.empty();
  if (plan.hashed) plan.digest = sha256(plan.bytes);
  if (stamp_of(path, Stage::kOpen) != before)
    throw Error(Stage::kOpen, path, "it changed while it was read", "Try again when nothing writes it any more.");
  if (plan.hashed) remember_settled(path, "sha256", plan.digest);
  plan.ms = watch.ms();
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
  const std::string failure = probe_failure(probe_answer(engine, probe, s.form), probe, s.form);
  if (!failure.empty()) refuse(s, path, failure);
}

// Under this name it is remembered that a plan answered its probe: everything that could make it answer otherwise.
std::string probe_fact(const Sidecar& s, const BackendInfo& info, const OpenOptions& options) {
  const std::optional<Device> device = device_of(info, options.device);
  const Json budget = options.weight_budget_bytes ? Json(*options.weight_budget_bytes) : Json();
  const Json what = {{"plan", s.plan_sha256},
                     {"sidecar", sha256(to_json(s))},  // the question and its answer are in it
                     {"module", stamp_of(info.module_path, Stage::kOpen)},
                     {"library", info.library},
                     {"version", info.version},
                     {"device", device ? device->name : ""},
                     {"index", options.device},
                     {"weight_budget_bytes", budget},
                     {"driver", device ? device->driver : ""},
                     {"ferry", FERRY_VERSION}};
  return "probe " + sha256(what.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// Hardware can break, so an answer is good for a day.
bool fresh(const std::string& remembered_at) {
  constexpr std::int64_t kDay = 24 * 60 * 60;
  std::int64_t then = 0;
  const char* end = remembered_at.data() + remembered_at.size();
  if (remembered_at.empty() || std::from_chars(remembered_at.data(), end, then).ptr != end) return false;
  const std::int64_t now = std::time(nullptr);
  return then <= now && now - then < kDay;
}

Engine open_checked(const Plan& plan, const Sidecar& sidecar, const Backend& backend, const std::string& path,
                    const OpenOptions& options, const Log& log) {
  const std::string fact = probe_fact(sidecar, backend.info(), options);
  const bool passed = !options.always_probe && !sidecar.precision_proof_due && fresh(recall(path, fact));
  OpenOptions opening = options;
  opening.proof = !passed;
  Stopwatch watch;
  const Engine engine = backend.open_plan(plan.bytes, opening, log);
  const double open_ms = watch.ms();
  if (!passed) {
    check_behaviour(engine, sidecar, path);
    remember_settled(path, fact, std::to_string(std::time(nullptr)));
  }
  if (log)
    log(2,
        fmt::format("opening: {:.0f} ms for the engine, {}", open_ms,
                    passed ? std::string("no probe: this plan answered it within a day, here, with this driver and SDK")
                           : fmt::format("{:.0f} ms for proof and probe", watch.ms() - open_ms)));
  return engine;
}

Engine open_plan(const std::string& path, const OpenOptions& options, const Log& log) {
  const Sidecar sidecar = read_sidecar(path);
  // Reading and hashing overlap with loading the SDK, and end before the SDK sees a byte of the plan.
  const Stopwatch watch;
  std::future<Plan> reading = std::async(std::launch::async, read_plan, path);
  const Backend backend = load_backend(sidecar, path);
  const double load_ms = watch.ms();
  check_machine(sidecar, path, backend.info(), options.device);
  check_onnx(sidecar, path);
  const Plan plan = reading.get();
  if (plan.digest != sidecar.plan_sha256)
    refuse(sidecar, path, fmt::format("it is not the plan that '{}' describes (SHA-256 differs)", sidecar_path(path)));
  if (log)
    log(2,
        fmt::format("opening: {:.0f} ms for SDK and driver; meanwhile {:.0f} ms to read the plan{}; {:.0f} ms so far",
                    load_ms, plan.ms, plan.hashed ? " and hash it" : " (its hash is remembered)", watch.ms()));
  try {
    return open_checked(plan, sidecar, backend, path, options, log);
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
  if (is_plan_set(path)) return open_plan_set(path, options, log);
  return open_plan(path, options, log);
}

Engine Engine::open(const std::string& path, const OpenOptions& options) { return open_engine(path, options); }

}  // namespace ferry
