#include "ferry/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/random.h"
#include "ferry/error.h"
#include "onnx/graph_index.h"
#include "onnx/infer_types.h"
#include "onnx/model_impl.h"
#include "quantize/parallel.h"

namespace ferry {
namespace {

// Adds every tensor to its statistics on several threads: each tensor belongs to one thread, so sums keep their order.
void add_all(const std::vector<std::string>& names, const std::vector<Tensor>& values, int threads,
             std::map<std::string, TensorStatistics>& statistics) {
  std::vector<TensorStatistics*> targets;
  targets.reserve(names.size());
  for (const std::string& name : names) targets.push_back(&statistics[name]);
  for_each_in_parallel(names.size(), threads, [&](std::size_t i) { targets[i]->add(values[i].view(), names[i]); });
}

// `wanted` of the items, drawn evenly, in their old order.
std::vector<ImageItem> drawn(std::vector<ImageItem> items, std::int64_t wanted, std::uint64_t seed) {
  if (wanted <= 0 || static_cast<std::size_t>(wanted) >= items.size()) return items;
  std::vector<std::size_t> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  SplitMix64 random(seed);
  for (std::size_t i = 0; i < static_cast<std::size_t>(wanted); ++i)
    std::swap(order[i], order[i + random.next() % (order.size() - i)]);
  order.resize(static_cast<std::size_t>(wanted));
  std::sort(order.begin(), order.end());
  std::vector<ImageItem> kept;
  kept.reserve(order.size());
  for (const std::size_t i : order) kept.push_back(std::move(items[i]));
  return kept;
}

bool contains(const std::vector<std::string>& list, const char* what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

Engine built(const Backend& backend, const std::string& bytes, std::int64_t batch, std::optional<int> effort,
             const Progress& progress, const Log& log) {
  BuildOptions options;
  options.profiles = {{1, batch, batch}};
  options.optimization_level = effort;
  const BuildResult result = backend.build(bytes, options, {}, progress, log);
  return backend.open_plan(result.plan, {}, log);
}

}  // namespace

OnnxModel with_outputs(const OnnxModel& model, const std::vector<std::string>& tensors) {
  OnnxModel changed = model.clone();
  onnx::ModelProto& proto = changed.impl().proto;
  const onnx::ModelProto inferred = infer_types(proto, changed.impl().name);
  const auto types = types_of(inferred);
  proto.mutable_graph()->clear_output();
  for (const std::string& name : tensors) {
    const auto type = types.find(name);
    if (type == types.end())
      throw Error(Stage::kQuantize, name,
                  fmt::format("{} has no such tensor, or its type is unknown", changed.impl().name));
    onnx::ValueInfoProto& output = *proto.mutable_graph()->add_output();
    output.set_name(name);
    *output.mutable_type() = *type->second;
  }
  return changed;
}

// An engine that opens ONNX as it is comes first, also where there is a GPU: building one with every quantised tensor
// as an output takes longer than running a few hundred pictures on the CPU, and each picture brings some 60 MB of
// activations that the CPU has to look at anyway (docs/int8.md has the figures).
Engine open_for_calibration(const OnnxModel& model, std::int64_t batch, const std::string& name,
                            const Progress& progress, const Log& log, std::optional<int> effort) {
  const std::vector<BackendInfo> all = Backend::list();
  const auto wanted = [&](const BackendInfo& info) { return name.empty() ? info.name != "fake" : info.name == name; };
  for (const BackendInfo& info : all)
    if (wanted(info) && info.usable && contains(info.opens, "onnx"))
      return Backend::load(info.name).open_onnx(model.serialize(), {}, log);
  for (const BackendInfo& info : all)
    if (wanted(info) && info.usable && info.builds && info.can_build)
      return built(Backend::load(info.name), model.serialize(), batch, effort, progress, log);
  std::string reasons;
  for (const BackendInfo& info : all)
    if (wanted(info))
      reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", info.display_name,
                             info.usable ? "does not run ONNX files" : info.reason);
  throw Error(Stage::kBackend, name.empty() ? "calibration" : name,
              reasons.empty() ? "there is no such engine" : "no engine here runs the model: " + reasons,
              "ferry doctor shows what is missing and how to get it.");
}

Calibration gather(const std::vector<std::string>& tensors, const TensorRunner& run, const ImageSet& images,
                   const CalibrateOptions& options) {
  const std::vector<ImageItem> items = drawn(images.items, options.max_images, options.seed);
  const auto total = static_cast<std::int64_t>(items.size());
  const std::int64_t crop = options.loader.preprocessing.crop;
  const int threads = threads_or_all(options.loader.threads);
  const auto step = [&](std::int64_t done) {
    if (options.progress && !options.progress("calibrating", done, total))
      throw Error(Stage::kInterrupted, "", "the calibration was stopped");
  };
  Calibration calibration;
  calibration.preprocessing = options.loader.preprocessing.name;
  step(0);
  LoadReport report = load_batches(items, options.loader, [&](const ImageBatch& batch) {
    const TensorView view{DType::kFloat32,
                          {static_cast<std::int64_t>(batch.items.size()), 3, crop, crop},
                          reinterpret_cast<const std::byte*>(batch.data)};
    const std::vector<Tensor> values = run(view);
    if (values.size() != tensors.size())
      throw Error(Stage::kQuantize, "calibration",
                  fmt::format("the engine gave {} tensors, not {}", values.size(), tensors.size()));
    add_all(tensors, values, threads, calibration.tensors);
    if (options.moments) calibration.picture.add(view, threads);
    step(static_cast<std::int64_t>(batch.items.back()) + 1);
    return true;
  });
  if (report.loaded == 0)
    throw Error(Stage::kImage, items.empty() ? "calibration" : items.front().path,
                report.broken.empty() ? "there are no pictures"
                                      : fmt::format("none of the {} pictures could be read; the first: {}",
                                                    report.broken.size(), report.broken.front().message));
  calibration.images = static_cast<std::int64_t>(report.loaded);
  calibration.broken = std::move(report.broken);
  return calibration;
}

}  // namespace ferry
