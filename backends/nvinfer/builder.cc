#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cuda_support/context.h"
#include "nvinfer/config.h"
#include "nvinfer/engine.h"
#include "nvinfer/gpu_engine.h"
#include "nvinfer/io_json.h"
#include "nvinfer/monitor.h"
#include "nvinfer/onnx_network.h"
#include "nvinfer/plan_header.h"
#include "nvinfer/sink.h"
#include "nvinfer/translate.h"

namespace ferry::nvinfer {
namespace {

using Json = nlohmann::json;

// One build; its members in the order in which the SDK wants them alive.
class Build {
 public:
  explicit Build(const ferry_build_args& args)
      : args_(args),
        options_(parse_build_options(args.options_json)),
        library_(usable_library()),
        listener_(args.log),
        monitor_(args.progress),
        place_(decide_place(library_, options_)) {}

  void run();

 private:
  void make_builder();
  void configure();
  void serialise();
  void prove();
  void hand_over() const;
  std::string report() const;
  Failure failure(const std::string& what) const;

  const ferry_build_args& args_;
  const BuildOptions options_;
  const Library& library_;
  Listener listener_;
  Monitor monitor_;
  const BuildPlace place_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::optional<cuda::Context> context_;
  std::unique_ptr<nvinfer1::IBuilder> builder_;
  OnnxNetwork onnx_;
  sdk::TimingCache timing_cache_;
  std::unique_ptr<nvinfer1::IBuilderConfig> config_;
  std::optional<std::size_t> workspace_;
  std::unique_ptr<nvinfer1::IHostMemory> plan_;
  Proof asked_, proof_;
  std::optional<WeightStreaming> streaming_;
};

std::string gibibytes(std::optional<std::size_t> bytes) {
  if (!bytes) return {};
  const auto tenths = static_cast<long>(static_cast<double>(*bytes) / (1 << 30) * 10);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GiB";
}

std::string megabytes(std::size_t bytes) { return std::to_string((bytes + 500'000) / 1'000'000) + " MB"; }

Failure Build::failure(const std::string& what) const {
  return translate({library_.sdk_text(), what, listener_.problems(), place_.no_gpu_reason, gibibytes(workspace_)});
}

void Build::make_builder() {
  builder_.reset(library_.make_builder());
  if (builder_ == nullptr) throw failure("start its builder");
  onnx_ = parse_onnx(library_, *builder_, listener_, args_.onnx, args_.onnx_size);
  asked_ = count_network(*onnx_.network);
  monitor_.check_cancelled();
}

void Build::configure() {
  config_.reset(builder_->createBuilderConfig());
  if (config_ == nullptr) throw failure("create a build configuration");
  add_profiles(*builder_, *onnx_.network, *config_, options_.profiles);
  workspace_ = workspace(options_, context_.has_value());
  if (workspace_) config_->setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE, *workspace_);
  set_effort(*config_, options_);
  if (!options_.tf32) config_->clearFlag(nvinfer1::BuilderFlag::kTF32);     // on by default: FP32 is to mean FP32
  config_->setProfilingVerbosity(nvinfer1::ProfilingVerbosity::kDETAILED);  // the proof needs the layers' types
  config_->setProgressMonitor(&monitor_);
  sdk::set_capture_flags(*config_);
  if (!sdk::set_targets(*config_, place_.capabilities)) throw failure("build for this target");
  if (!timing_cache_.load(*config_, args_.timing_cache, args_.timing_cache_size)) {
    listener_.say(1, "the timing cache is of another GPU or SDK version and is not used");
  }
}

void Build::serialise() {
  plan_.reset(builder_->buildSerializedNetwork(*onnx_.network, *config_));
  if (monitor_.was_cancelled()) throw cancelled();
  if (plan_ == nullptr || plan_->size() == 0) throw failure("build the engine");
}

// Opens what was built, as any user will, and counts.
void Build::prove() {
  if (!place_.runs_here) return;
  OpenOptions open;
  open.device = options_.device;
  const Engine engine(plan_->data(), plan_->size(), open, ferry_log{});
  const cuda::Current current(engine.context());
  proof_ = engine.proof();
  streaming_ = engine.weight_streaming();
  if (!streaming_) return;
  listener_.say(1, megabytes(static_cast<std::size_t>(streaming_->streamable)) + " of a plan of " +
                       megabytes(plan_->size()) + " can be streamed; plans for weight streaming fuse less and may be " +
                       "several times slower: measure one without, too");
}

std::string Build::report() const {
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin_;
  Json json = {
      {"sdk", sdk::kDisplayName}, {"sdk_version", version_text(library_.version)}, {"seconds", seconds.count()}};
  const bool on_gpu = place_.gpu && place_.runs_here;
  json["gpu"] = on_gpu ? Json(place_.gpu->name) : Json();
  json["driver"] = place_.gpu ? Json(place_.gpu->driver) : Json();
  std::string capabilities;
  for (const int c : place_.capabilities) {
    capabilities += (capabilities.empty() ? "" : ",") + std::to_string(c / 10) + "." + std::to_string(c % 10);
  }
  if (capabilities.empty() && place_.gpu) capabilities = place_.gpu->compute_capability();
  json["compute_capability"] = capabilities;
  json["workspace_bytes"] = workspace_ ? Json(*workspace_) : Json();
  json["profiles"] = profiles_json(options_.profiles);
  if (streaming_) json["streamable_weights_bytes"] = streaming_->streamable;
  json["graph_precision"] = Json::parse(to_json(asked_));
  json["precision_proof"] = Json::parse(to_json(proof_));
  json["precision_proof_note"] =
      place_.runs_here ? "counted in the engine after building"
                       : "no GPU here can open this engine: the proof is due at its first open; graph_precision counts "
                         "the layers of the graph before building";
  return json.dump();
}

void Build::hand_over() const {
  const std::string text = report();
  write_to(args_.plan, plan_->data(), plan_->size(), "the plan");
  if (args_.timing_cache_out.write != nullptr) {
    const auto cache = timing_cache_.save(*config_);
    if (cache != nullptr) write_to(args_.timing_cache_out, cache->data(), cache->size(), "the timing cache");
  }
  write_to(args_.report_json, text.data(), text.size(), "the build report");
}

void Build::run() {
  std::optional<cuda::Current> current;
  if (place_.gpu) {
    context_.emplace(place_.gpu->index);
    current.emplace(*context_);
  }
  monitor_.check_cancelled();
  make_builder();
  configure();
  serialise();
  prove();
  monitor_.check_cancelled();
  hand_over();
  monitor_.complete();
  // In this order, while the context is current.
  plan_.reset();
  config_.reset();
  onnx_ = OnnxNetwork();
  builder_.reset();
}

}  // namespace

void build(const ferry_build_args& args) {
  if (args.onnx == nullptr || args.onnx_size == 0) throw Failure("onnx", "the ONNX model is empty", "");
  Build(args).run();
}

}  // namespace ferry::nvinfer
