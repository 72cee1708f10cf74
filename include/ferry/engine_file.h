// Engine files: `model.plan` is exactly what the SDK serialised; `model.plan.json` beside it (the sidecar) says what it
// is, for which GPU, from which ONNX, and carries a probe that every load runs. Format: docs/file-formats.md.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ferry/backend.h"
#include "ferry/onnx.h"
#include "ferry/resnet.h"

namespace ferry {

struct Probe {
  std::uint64_t seed = 1;  // Tensor::random_normal of the input shape at `batch`
  std::int64_t batch = 1;
  std::vector<float> expected;  // the whole first output row, from a referee (the ONNX on a CPU engine or LibTorch)
  double tolerance = 0;         // relative L2
  std::string referee;          // which engine made `expected`; empty: no referee was there when it was built
  std::vector<std::int32_t> expected_classes;  // of an engine with top-k: whose probabilities `expected` has
};

struct Sidecar {
  int version = 1;
  std::string backend, sdk, sdk_version;
  std::string plan_sha256, onnx_sha256, onnx_path;
  std::string gpu, compute_capability, driver;  // of the build machine; for an ahead-of-time build: the target
  std::string precision;                        // "fp32", "fp16", "int8"
  std::string precision_proof_json;  // layer types of the built engine, as in EngineInfo; empty if it cannot tell
  bool precision_proof_due = false;  // built where it cannot be opened: the first open proves it
  std::string cache_key;             // SHA-256 over everything that shapes the plan; see cache_key in file-formats.md
  std::vector<BatchProfile> profiles;
  std::vector<Port> inputs, outputs;
  GraphForm form;  // what goes in and comes out
  std::string build_options_json, build_report_json;
  double build_seconds = 0;
  std::string built_at;  // ISO 8601, UTC
  std::string ferry_version;
  std::string origin;  // where the weights come from; says so if they are random
  std::optional<Probe> probe;
  std::string preprocessing;             // preset name; empty if unknown
  std::vector<std::string> class_names;  // may be empty
};

std::string to_json(const Sidecar& sidecar);
Sidecar sidecar_from_json(const std::string& text, const std::string& path);  // throws Error(kOpen)
/// "model.plan" -> "model.plan.json".
std::string sidecar_path(const std::string& plan_path);
/// Throws Error(kOpen) if there is none or it cannot be used, with how to get one.
Sidecar read_sidecar(const std::string& plan_path);

struct BuildRequest {
  std::string onnx_path;
  std::string plan_path;  // empty: into the cache
  std::string backend;    // empty: the best one for the target
  BuildOptions options;
  std::string origin;
  bool force = false;  // rebuild on a cache hit
  /// The network the ONNX came from, if at hand: lets the reference backend make the probe where no engine reads ONNX.
  /// Called at most once, and not on a cache hit.
  std::function<const ResNet&()> network;
  std::string preprocessing;             // stored in the sidecar
  std::vector<std::string> class_names;  // stored in the sidecar
  Progress progress;
  Log log;
};

struct BuildOutcome {
  std::string plan_path;
  Sidecar sidecar;
  bool cache_hit = false;
  std::string cache_reason;           // "hit", or why not: "no entry", "SDK 1.7.1 is not 1.7.2", "forced"
  std::vector<std::string> cautions;  // what the backend is known not to do well for this precision and GPU
};

/// ONNX -> plan + sidecar, through the cache. Writes temporary names, re-reads and checks, renames; on failure or
/// cancellation nothing is left behind and an existing plan stays. Proves the precision on a machine that can open the
/// plan; elsewhere the sidecar says that the proof is due at the first open, and `open_engine` does it.
BuildOutcome build_engine(const BuildRequest& request);

/// Opens a plan: sidecar, SHA-256, backend, SDK version, GPU, ONNX beside it, then the probe. Each refusal is an
/// Error(kOpen) whose hint is the `ferry build` command that repairs it. Also opens .onnx and checkpoints.
Engine open_engine(const std::string& path, const OpenOptions& options = {}, const Log& log = {});

/// Checks a precision proof against what the graph asked for: throws Error(kBuild) if an fp16 or int8 graph became a
/// float engine. `proof_json` as in EngineInfo.
void check_precision(const std::string& precision, const std::string& proof_json, const std::string& plan_path);

/// The profile used when the user gives none: 1:8:32 on a CPU or unknown GPU, by memory on a GPU.
std::vector<BatchProfile> default_profiles(const std::optional<Device>& device);

/// $XDG_CACHE_HOME/ferry or ~/.cache/ferry; created on demand.
std::string cache_directory();

}  // namespace ferry
