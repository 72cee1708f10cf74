// ONNX -> plan (see `build` in backend_abi.h).
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "cuda/chains.h"
#include "cuda/machine.h"
#include "cuda/onnx_graph.h"
#include "cuda/plan_file.h"
#include "cuda/support.h"
#include "cuda/tune.h"
#include "cuda/weights.h"
#include "cuda_support/error.h"
#include "nvinfer/failure.h"
#include "nvinfer/gpu_engine.h"
#include "nvinfer/io_json.h"
#include "nvinfer/sink.h"

namespace ferry::latency {
namespace {

using nvinfer::BuildOptions;
using nvinfer::Failure;
using Json = nlohmann::json;

void refuse_option(bool given, const char* key, const char* why) {
  if (given)
    throw Failure(key, std::string("option '") + key + "' does not go with this engine: " + why, "leave it out");
}

BuildOptions read_options(const ferry_build_args& args) {
  const BuildOptions options = nvinfer::parse_build_options(args.options_json);
  refuse_option(options.workspace_bytes.has_value(), "workspace_bytes", "it needs no workspace");
  refuse_option(options.tf32, "tf32", "it computes in FP16");
  refuse_option(!options.tactics.empty(), "tactics", "it has no kernels but its own");
  refuse_option(options.weight_streaming, "weight_streaming", "its kernel reads weights on the device");
  refuse_option(options.aux_streams.has_value(), "aux_streams", "its branches run in one kernel");
  return options;
}

/// Every batch of the profiles.
std::set<int> wanted_batches(const BuildOptions& options, std::int64_t fixed) {
  std::set<int> batches;
  for (const nvinfer::Profile& p : options.profiles) {
    const std::string range = nvinfer::ranges({p});
    if (p.max > kMaxImages)
      throw Failure(
          "batch " + range,
          "this engine runs batches of 1 to " + std::to_string(kMaxImages) + ", and " + range + " was asked for",
          "larger batches are faster in TensorRT: --backend tensorrt, or --batch 1", FERRY_UNSUPPORTED);
    if (fixed > 0 && (p.min != fixed || p.max != fixed))
      throw Failure("batch " + range, "the graph fixes the batch at " + std::to_string(fixed),
                    "use --batch " + std::to_string(fixed), FERRY_UNSUPPORTED);
    for (std::int64_t images = p.min; images <= p.max; ++images) batches.insert(static_cast<int>(images));
  }
  return batches;
}

class Build {
 public:
  explicit Build(const ferry_build_args& args)
      : args_(args),
        options_(read_options(args)),
        target_(pick_target(options_.targets, options_.device)),
        read_(read_layers(read_onnx({static_cast<const char*>(args.onnx), args.onnx_size}))) {}

  void run() {
    step(0);
    choose();
    weights_ = pack_weights(read_, target_.machine, plan_.batches, [this](std::int64_t done, std::int64_t all) {
      step(kBar * 6 / 10 + kBar * 3 / 10 * done / all);
    });
    plan_.weights = weights_;
    // What opening will do: a plan that could not be opened must not be written.
    for (const PlannedBatch& batch : plan_.batches)
      make_program(plan_.layers, batch.tiles, batch.places, weights_.size(), batch.images,
                   in_clusters(target_.machine, batch.clusters));
    nvinfer::write_to(args_.plan, plan_head(plan_), "the plan");
    nvinfer::write_to(args_.plan, weights_.data(), weights_.size(), "the plan");
    nvinfer::write_to(args_.report_json, report(), "the build report");
    step(kBar);
  }

 private:
  static constexpr std::int64_t kBar = 1000;
  static constexpr int kChainsLevel = 2;  // of optimization: from here on chains are tried; 1: tiles alone

  void step(std::int64_t done) const {
    if (args_.progress.step == nullptr) return;
    if (args_.progress.step(args_.progress.user, "building engine", done, kBar) != 0) throw nvinfer::cancelled();
  }

  void choose() {
    plan_.gpu = target_.gpu;
    plan_.compute_capability = target_.compute_capability;
    plan_.multiprocessors = target_.machine.multiprocessors;
    plan_.shared_bytes = target_.machine.shared_bytes;
    plan_.layers = read_.layers;
    plan_.profiles = options_.profiles;
    for (const int images : wanted_batches(options_, plan_.layers.batch)) {
      const Choice choice = choose_tiles(plan_.layers, images, target_.machine);
      plan_.batches.push_back({images, choice.tiles, {}, choice.ns / 1e6});
    }
    step(kBar / 100);
    if (target_.device && level() > 0) tune();
  }

  /// Replaces the model's choice by what is quickest on this GPU. A failure leaves the model's.
  void tune() {
    try {
      Tuner tuner(plan_.layers, target_.machine, *target_.device, options_.timing_runs.value_or(Tuner::kRuns));
      std::int64_t batch = 0;
      for (PlannedBatch& planned : plan_.batches) {
        const auto progress = [&](std::int64_t done, std::int64_t all) {
          step(kBar * 6 / 10 * (batch * all + done) / (all * static_cast<std::int64_t>(plan_.batches.size())));
        };
        const auto tuned = tuner.tune(planned.images, 0, progress);
        if (!tuned) return;
        planned.tiles = tuned->tiles;
        Json& cycles = tuned_[std::to_string(planned.images)];
        cycles = {{"model_cycles", tuned->model_cycles}, {"tuned_cycles", tuned->tuned_cycles}};
        const auto stay = [&](std::int64_t, std::int64_t) { progress(1, 1); };  // the bar; a stop is heard all the same
        if (level() > 1) try_chains(tuner, planned, tuned->tuned_cycles, cycles, stay);
        ++batch;
      }
    } catch (const cuda::Error& error) {
      say(1, std::string("the tiles could not be measured on the GPU, the plan is made by the model: ") + error.what());
    }
  }

  int level() const { return options_.optimization_level.value_or(kChainsLevel); }

  /// Chains where the GPU forms clusters, the network has some, and they are quicker than the grid's meetings.
  void try_chains(Tuner& tuner, PlannedBatch& planned, double without, Json& cycles, const Tuner::Step& step) const {
    const int clusters = tuner.clusters();
    if (schedule(plan_.layers, planned.images, clusters).size() == schedule(plan_.layers).size()) return;
    const auto chained = tuner.tune(planned.images, clusters, step);
    if (!chained) return;
    cycles["clusters"] = clusters;
    cycles["chained_cycles"] = chained->tuned_cycles;
    if (chained->tuned_cycles >= without) return;
    planned.tiles = chained->tiles;
    planned.clusters = clusters;
  }

  void say(int severity, const std::string& line) const {
    if (args_.log.line != nullptr) args_.log.line(args_.log.user, severity, line.c_str());
  }

  std::string report() const {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin_;
    Json predicted = Json::object();
    for (const PlannedBatch& batch : plan_.batches) predicted[std::to_string(batch.images)] = batch.predicted_ms;
    const auto text = [](const std::string& value) { return value.empty() ? Json() : Json(value); };
    return Json{{"sdk", kDisplayName},
                {"sdk_version", kVersion},
                {"seconds", seconds.count()},
                {"gpu", text(target_.gpu)},
                {"driver", text(target_.driver)},
                {"compute_capability", target_.compute_capability},
                {"workspace_bytes", nullptr},
                {"profiles", nvinfer::profiles_json(options_.profiles)},
                {"predicted_ms", predicted},
                {"measured_tiles", tuned_},
                {"precision_proof", Json::parse(nvinfer::to_json(proof_of(plan_.layers)))},
                {"precision_proof_note",
                 plan_.layers.int8() ? "the first convolution and the classifier multiply in FP16 and add up in FP32, "
                                       "the others in INT8 and INT32"
                                     : "every convolution and the classifier multiply in FP16 and add up in FP32"}}
        .dump();
  }

  const ferry_build_args& args_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  const BuildOptions options_;
  const Target target_;
  const ReadLayers read_;
  Plan plan_;
  std::string weights_;
  Json tuned_ = Json::object();  // by batch
};

}  // namespace
}  // namespace ferry::latency

namespace ferry::nvinfer {

void build(const ferry_build_args& args) {
  if (args.onnx == nullptr || args.onnx_size == 0) throw Failure("onnx", "the ONNX model is empty", "");
  latency::Build(args).run();
}

}  // namespace ferry::nvinfer
