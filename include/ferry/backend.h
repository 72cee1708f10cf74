// Backends: the engines that run a network. Each is a module loaded at run time; any of them may be absent.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ferry/layers.h"
#include "ferry/onnx.h"
#include "ferry/resnet.h"
#include "ferry/tensor.h"

namespace ferry {

struct Device {
  std::string kind = "cpu";        // "cpu" or "gpu"
  std::string name;                // "NVIDIA GeForce RTX 4060"
  std::string compute_capability;  // "8.9"; empty on a CPU
  std::string driver;              // "580.159.04"; empty on a CPU
  std::string cuda;                // CUDA version of the driver; empty on a CPU
  std::int64_t memory_bytes = 0;
  int index = 0;
};

/// Something that works but not as one expects, on some GPUs: said when an engine of this precision is built for one.
struct BackendCaution {
  std::string precision;
  std::vector<std::string> compute_capabilities;
  std::string text;
};

/// What a module is and what it can do on this machine. `usable` false comes with a reason and a remedy.
struct BackendInfo {
  std::string name;                       // "tensorrt_rtx": the name used on the command line and in files
  std::string display_name;               // "TensorRT for RTX": for people
  std::string gives;                      // one sentence: what the user gains
  bool present = false;                   // the module is built and loads
  bool usable = false;                    // it can run something here
  bool can_build = false;                 // it can build engines here (TensorRT for RTX can without a GPU)
  bool builds = false;                    // it has engine files at all
  bool reference = false;                 // takes weights: the referee of comparisons
  std::string kind;                       // "gpu", "cpu", "gpu+cpu"
  std::vector<std::string> opens;         // of "plan", "onnx", "weights"
  std::vector<std::string> precisions;    // of "fp32", "fp16", "int8"
  std::optional<std::int64_t> max_batch;  // that any engine of it takes; empty: no limit of its own
  std::vector<BackendCaution> cautions;   // see there
  std::string reason, remedy;             // why not usable; the exact command
  std::string library, version;           // of the SDK, where found
  std::string module_path;
  std::vector<Device> devices;
};

/// A batch range that an engine is optimised for. min <= opt <= max.
struct BatchProfile {
  std::int64_t min = 1, opt = 8, max = 32;
  bool operator==(const BatchProfile&) const = default;
};
/// "1:8:64", a single number, or a comma-separated list of these. Throws Error(kUsage).
std::vector<BatchProfile> parse_profiles(const std::string& text);
std::string to_string(const BatchProfile& profile);

/// Called from long work; `total` 0 means unknown. Return false to cancel.
using Progress = std::function<bool(const std::string& phase, std::int64_t done, std::int64_t total)>;
/// The SDK's log. severity: 0 error, 1 warning, 2 info, 3 verbose. May be called from several threads.
using Log = std::function<void(int severity, const std::string& line)>;

struct BuildOptions {
  std::vector<BatchProfile> profiles;           // empty: the default profile
  std::string target;                           // compute capability "8.9"; empty: this machine's GPU
  std::optional<std::int64_t> workspace_bytes;  // empty: clamped to free memory
  std::optional<int> optimization_level;        // 0..5; empty: the SDK's default
  bool tf32 = false;                            // let FP32 convolutions use TF32
  std::vector<std::string> tactics;             // sources of kernels, by the SDK's names; empty: its default
  std::optional<int> aux_streams;               // for branches that can run at once; empty: the SDK decides
  std::optional<int> timing_runs;               // a kernel is timed so often; empty: the SDK's default
  bool weight_streaming = false;                // let weights stay in host memory (OpenOptions::weight_budget_bytes)
  int device = 0;
};

struct BuildResult {
  std::string plan;          // exactly what the SDK serialised
  std::string timing_cache;  // may be empty
  std::string report_json;   // see backend_abi.h, build.report_json
};

struct OpenOptions {
  int device = 0;
  std::string precision = "fp32";  // for modules that open weights
  int threads = 0;                 // CPU threads; 0: all physical cores
  bool graphs = true;              // CUDA graphs, where there are any
  bool prefer_cpu = false;         // for modules that run on both
  bool proof = true;               // let the engine count its layers' types (EngineInfo::precision_proof_json)
  bool always_probe = false;       // ask a plan's probe even if it passed here before (open_engine)
  bool capture = false;            // for modules that run eagerly: record the calls once, then replay them as one graph
  int height = 224, width = 224;   // for modules that open weights: these do not tell the size of a picture
  // For modules of kind "gpu" (others refuse what is set):
  std::optional<int> copy_threads;  // share a large copy into pinned memory; empty: by the cores
  bool quick = true;   // small requests in one launch: the device fetches the input itself and says when it is done
  bool block = false;  // wait without keeping a core busy: a little later, but cheaper
  std::optional<std::int64_t> persistent_l2_bytes;  // of L2 that kernels may reserve for activations
  /// Of weights, on the device; the others stay in host memory and cross the bus in every run. Empty: all. Error(kOpen)
  /// with a plan that was not built with `weight_streaming`.
  std::optional<std::int64_t> weight_budget_bytes;
};

/// Milliseconds of one run; NaN where the engine cannot tell. See backend_abi.h for what each contains.
struct RunTimes {
  double enqueue_ms, h2d_ms, compute_ms, d2h_ms;
};

/// State of the device; NaN where unknown.
struct Telemetry {
  double sm_clock_mhz, memory_clock_mhz, temperature_c, power_w, memory_used_bytes, memory_total_bytes;
  std::uint64_t throttle_reasons = 0;
};

/// Of a plan built for weight streaming, in bytes: weights that may stay in host memory, and how many of them the
/// device keeps.
struct WeightStreaming {
  std::int64_t streamable = 0, budget = 0;
};

/// Of an engine that is several behind one (plan_set.h): which of them runs a batch.
struct EnginePart {
  std::vector<BatchProfile> profiles;  // the batches that go to it
  std::string backend, backend_display_name, sdk_version;
};

struct EngineInfo {
  std::vector<Port> inputs, outputs;
  std::vector<BatchProfile> profiles;  // empty: any batch
  std::optional<std::int64_t> max_batch;
  Device device;
  std::string backend, backend_display_name, sdk_version;
  std::int64_t device_memory_bytes = 0;  // about: weights on the device, and what one session adds to them
  std::optional<WeightStreaming> weight_streaming;
  bool resident = false;             // Session::submit takes `resident`
  bool images = false;               // Session::submit_images works: pictures cross as pixels
  std::string precision_proof_json;  // {"layers":N,"by_type":{...}}; empty if the engine cannot tell
  std::vector<EnginePart> parts;     // empty: one engine for all batches

  /// The part that runs a batch; null where there is one engine for all, or none for this batch.
  const EnginePart* part_for(std::int64_t batch) const;
};

/// A picture in a session's image staging, and the window of it that the network gets: see `ferry_image` in
/// backend_abi.h.
struct StagedImage {
  std::uint64_t offset = 0;
  int stride = 0, width = 0, height = 0;
  int part_left = 0, part_top = 0, part_width = 0, part_height = 0;
  int resized_width = 0, resized_height = 0, crop_left = 0, crop_top = 0;
};

/// One stream of requests over an engine. Move-only; one thread at a time. Keeps its engine alive.
class Session {
 public:
  struct Impl;
  explicit Session(std::shared_ptr<Impl> impl);

  /// Runs one batch: inputs are [n, ...] for the engine's input ports in order. Blocks. Throws Error(kRun) on a shape,
  /// type or batch that the engine does not take, showing given against allowed.
  std::vector<Tensor> run(const std::vector<TensorView>& inputs, RunTimes* times = nullptr);
  /// The same for engines with one input and one output.
  Tensor run(const TensorView& input, RunTimes* times = nullptr);

  /// Host staging memory (pinned on a GPU) for a batch: fill inputs, submit, wait, read outputs; no copy on the host.
  struct Staging {
    std::vector<std::byte*> inputs, outputs;
  };
  Staging staging(std::int64_t batch);
  /// Starts a request whose inputs and outputs are host memory that stays valid until `wait`. With `resident`, nothing
  /// is copied: the inputs of the last run at this batch are used again and outputs stay on the device; with `fetch`
  /// they are copied to `outputs` after the timed part, so that a resident run can be checked.
  void submit(std::int64_t batch, const std::vector<const std::byte*>& inputs, const std::vector<std::byte*>& outputs,
              bool resident = false, bool fetch = false);
  void wait(RunTimes* times = nullptr);

  /// Times each layer in `runs` runs on the inputs of the last run at this batch. Nothing where the engine cannot.
  std::optional<LayerProfile> profile(std::int64_t batch, int runs = 20);

  /// Where EngineInfo::images: pinned memory for pictures, valid until the session ends or this is asked for more; and
  /// a request that resizes, crops and normalises them on the device. `used`: bytes of that memory that hold pictures.
  std::byte* image_staging(std::uint64_t size);
  void submit_images(const std::vector<StagedImage>& images, std::uint64_t used, const std::array<float, 3>& mean,
                     const std::array<float, 3>& std, const std::vector<std::byte*>& outputs);

 private:
  std::shared_ptr<Impl> impl_;
};

/// An opened engine. Cheap to copy (shared); thread-safe.
class Engine {
 public:
  /// Opens a plan after checking its sidecar (GPU, SDK, hashes) and running its probe; or an ONNX file or a checkpoint,
  /// with the best usable backend for it. Throws Error(kOpen). Same as `open_engine` in engine_file.h.
  static Engine open(const std::string& path, const OpenOptions& options = {});

  struct Impl;
  explicit Engine(std::shared_ptr<Impl> impl);
  const EngineInfo& info() const noexcept;
  Session new_session() const;
  /// Nothing where the backend has no telemetry.
  std::optional<Telemetry> telemetry() const;

 private:
  std::shared_ptr<Impl> impl_;
};

/// A loaded backend module.
class Backend {
 public:
  /// Everything known about each backend, present or not, in order of preference. Never throws for an absent one.
  static std::vector<BackendInfo> list();
  /// Loads one by name; throws Error(kBackend) with reason and remedy if it is absent or has another ABI number.
  static Backend load(const std::string& name);

  const BackendInfo& info() const noexcept;
  BuildResult build(const std::string& onnx, const BuildOptions& options, const std::string& timing_cache,
                    const Progress& progress, const Log& log) const;
  Engine open_plan(const std::string& plan, const OpenOptions& options, const Log& log = {}) const;
  Engine open_onnx(const std::string& onnx, const OpenOptions& options, const Log& log = {}) const;
  Engine open_weights(const ResNet& network, const OpenOptions& options, const Log& log = {}) const;

  struct Impl;
  explicit Backend(std::shared_ptr<Impl> impl);

 private:
  std::shared_ptr<Impl> impl_;
};

/// Where modules are looked for: $FERRY_BACKEND_PATH (colon-separated), then ../lib/ferry beside the running program
/// or library, then the build tree.
std::vector<std::string> backend_search_path();

}  // namespace ferry
