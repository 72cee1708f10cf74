#include "open_model.h"

#include <fmt/core.h>

#include <algorithm>

#include "ferry/engine_file.h"
#include "ferry/error.h"
#include "ferry/plan_set.h"
#include "lineup.h"
#include "progress.h"

namespace ferry::tool {
namespace {

OpenedModel open_plan(const Model& model, const OpenFlags& flags, const Context& context) {
  if (!flags.precision.empty())
    throw Error(Stage::kUsage, "--precision", "a plan has one precision, that of its build");
  const Sidecar sidecar = describe_plan(model.path());
  if (!flags.backend.empty() && is_plan_set(model.path()))
    throw Error(Stage::kUsage, "--backend", fmt::format("{} says which engine runs which batch", model.path()));
  if (!flags.backend.empty() && flags.backend != sidecar.backend)
    throw Error(Stage::kUsage, "--backend", fmt::format("{} was built by {}", model.path(), sidecar.backend));
  const Job job(context, "opening " + model.path());
  return {open_engine(model.path(), flags.options(), context.log()), sidecar.precision};
}

const BackendInfo& chosen(const std::vector<BackendInfo>& engines, const std::string& precision) {
  for (const BackendInfo& info : engines)  // in order of preference
    if (std::find(info.precisions.begin(), info.precisions.end(), precision) != info.precisions.end()) return info;
  throw Error(Stage::kBackend, precision, "no usable engine runs this precision",
              "ferry doctor shows what each takes.");
}

}  // namespace

std::string engine_at(const EngineInfo& info, std::int64_t batch) {
  const EnginePart* part = info.part_for(batch);
  return part == nullptr ? info.backend_display_name : part->backend_display_name;
}

void OpenFlags::add_to(CLI::App* verb) {
  verb->add_option("--backend", backend, "The engine that runs it (default: the best one here)")->type_name("NAME");
  verb->add_option("--precision", precision, "fp32 or fp16 (default: fp32, or what the ONNX file has)")
      ->type_name("NAME");
  verb->add_flag("--probe", probe, "Ask a plan its probe even if it passed lately");
  verb->add_flag("--no-graphs", no_graphs, "Launch kernels one by one instead of as one graph")->group("On a GPU");
  verb->add_flag("--no-quick", no_quick, "Copy small requests in and out as large ones")->group("On a GPU");
  verb->add_flag("--block", how.block, "Wait without keeping a core busy")->group("On a GPU");
  verb->add_option("--copy-threads", how.copy_threads, "Threads that share a large copy into pinned memory")
      ->type_name("N")
      ->check(CLI::Range(1, 256))
      ->group("On a GPU");
  verb->add_option("--persistent-l2", persistent_l2_mb, "L2 that kernels may reserve for activations")
      ->type_name("MB")
      ->check(CLI::Range(0.0, 1024.0))
      ->group("On a GPU");
  verb->add_option("--weight-budget", weight_budget_mb, "Weights kept on the device, of a plan with --weight-streaming")
      ->type_name("MB")
      ->check(CLI::Range(0.0, 1e6))
      ->group("On a GPU");
}

OpenOptions OpenFlags::options() const {
  OpenOptions options = how;
  options.graphs = !no_graphs;
  options.quick = !no_quick;
  if (persistent_l2_mb) options.persistent_l2_bytes = static_cast<std::int64_t>(*persistent_l2_mb * 1e6);
  if (weight_budget_mb) options.weight_budget_bytes = static_cast<std::int64_t>(*weight_budget_mb * 1e6);
  options.always_probe = probe;
  return options;
}

OpenedModel open_model(Model& model, const OpenFlags& flags, const std::vector<std::int64_t>& batches,
                       const Context& context) {
  if (model.kind() == ModelKind::kPlan) return open_plan(model, flags, context);
  Precision precision = Precision::kFp32;
  if (!flags.precision.empty())
    precision = precision_named(flags.precision);
  else if (model.kind() == ModelKind::kOnnx)
    precision = OnnxModel::load(model.path()).summary().precision;
  LineupOptions wanted;
  if (!flags.backend.empty()) wanted.backends = {flags.backend};
  const Plan plan = plan_of(known_engines(wanted.backends), wanted, model.has_network());
  const BackendInfo& info = chosen(plan.engines, ferry::name_of(precision));
  if (!info.usable) throw Error(Stage::kBackend, info.name, info.reason, info.remedy);
  const bool from_weights =
      !info.builds && model.has_network() && std::count(info.opens.begin(), info.opens.end(), "weights");
  if (from_weights && !is_default(model.form()))
    throw Error(Stage::kUsage, info.display_name, "runs the network from its weights, in no other form than its own",
                "Leave --input, --top-k and the like out, or choose another --backend.");
  return {open_with(info, precision, model, batches, false, context, flags.options()), ferry::name_of(precision)};
}

}  // namespace ferry::tool
