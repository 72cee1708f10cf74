#include "lineup.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ferry/engine_file.h"
#include "ferry/error.h"
#include "ferry/plan_set.h"
#include "progress.h"
#include "signals.h"

namespace ferry::tool {
namespace {

bool opens(const BackendInfo& info, const char* what) {
  return std::find(info.opens.begin(), info.opens.end(), what) != info.opens.end();
}

bool runs(const BackendInfo& info, const std::string& precision) {
  return std::find(info.precisions.begin(), info.precisions.end(), precision) != info.precisions.end();
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  if (!file) throw Error(Stage::kOpen, path, "cannot read the ONNX file");
  return std::move(bytes).str();
}

Engine build_and_open(const BackendInfo& info, Precision precision, Model& model,
                      const std::vector<std::int64_t>& batches, bool force, const Context& context,
                      const OpenOptions& how) {
  BuildRequest request;
  request.onnx_path = model.onnx(precision);
  request.backend = info.name;
  request.options.profiles = profiles_for(batches);
  request.origin = model.origin();
  request.force = force;
  request.network = network_on_demand(model);
  request.log = context.log();
  Job job(context,
          fmt::format("building {} {} (or taking it from the cache)", info.display_name, ferry::name_of(precision)));
  request.progress = job.progress();
  const BuildOutcome outcome = build_engine(request);
  for (const std::string& caution : outcome.cautions) context.warn(caution);
  return open_engine(outcome.plan_path, how, context.log());
}

ComparisonRow failed_row(const BackendInfo& info, const std::string& precision, const std::string& failure) {
  ComparisonRow row;
  row.engine = info.display_name;
  row.backend = info.name;
  row.precision = precision;
  row.device_kind = info.devices.empty() ? "" : info.devices.front().kind;
  row.sdk_version = info.version;
  row.failure = failure;
  return row;
}

std::unique_ptr<EngineContestant> open_one(const BackendInfo& info, const std::string& precision, Model& model,
                                           const std::vector<std::int64_t>& batches, bool force,
                                           const Context& context) {
  if (!info.usable) throw Error(Stage::kBackend, info.name, info.reason, info.remedy);
  Engine engine = open_with(info, precision_named(precision), model, batches, force, context);
  return std::make_unique<EngineContestant>(std::move(engine), precision, model.form());
}

void add_engine(Lineup& lineup, const BackendInfo& info, const std::string& precision, const Plan& plan,
                const LineupOptions& options, Model& model, const Context& context) {
  std::vector<std::int64_t> batches = plan.batches;
  if (info.max_batch) std::erase_if(batches, [&](std::int64_t batch) { return batch > *info.max_batch; });
  if (batches.empty()) return;
  try {
    auto contestant = open_one(info, precision, model, batches, options.force, context);
    contestant->largest_batch = info.max_batch;
    const bool referee = precision == "fp32" && (info.reference || opens(info, "onnx"));
    if (referee && (lineup.reference == nullptr || info.reference)) lineup.reference = contestant.get();
    if (lineup.input_shape.empty()) lineup.input_shape = contestant->input_shape();
    lineup.pixels = lineup.pixels || contestant->takes_pixels();
    lineup.contestants.push_back(std::move(contestant));
  } catch (const Error& error) {
    if (error.stage() == Stage::kInterrupted || error.stage() == Stage::kUsage) throw;
    lineup.failed.push_back(failed_row(info, precision, failure_text(error)));
  }
}

// What the user built, beside the engines that are built here.
void add_plan(Lineup& lineup, const std::string& path, const Context& context) {
  BackendInfo named;
  named.display_name = std::filesystem::path(path).filename().string();
  std::string precision;
  try {
    const Sidecar sidecar = describe_plan(path);
    precision = sidecar.precision;
    const Job job(context, "opening " + path);
    Engine engine = open_engine(path, {}, context.log());
    auto contestant = std::make_unique<EngineContestant>(std::move(engine), precision, sidecar.form);
    contestant->row.engine += fmt::format(" ({})", named.display_name);
    contestant->largest_batch = contestant->engine()->info().max_batch;
    if (lineup.input_shape.empty()) lineup.input_shape = contestant->input_shape();
    lineup.pixels = lineup.pixels || contestant->takes_pixels();
    lineup.contestants.push_back(std::move(contestant));
  } catch (const Error& error) {
    if (error.stage() == Stage::kInterrupted || error.stage() == Stage::kUsage) throw;
    lineup.failed.push_back(failed_row(named, precision, failure_text(error)));
  }
}

void add_referee(Lineup& lineup, const Plan& plan, Model& model, const Context& context,
                 std::vector<std::string>& notes) {
  if (!plan.referee) return;
  lineup.referee = open_one(*plan.referee, "fp32", model, plan.batches, false, context);
  lineup.reference = lineup.referee.get();
  notes.push_back(fmt::format("Outputs are compared with {} in fp32, which was not timed", plan.referee->display_name));
}

// The modes that --peers names; "all" is every one that makes sense here.
std::vector<PeerMode> wanted_modes(const PythonPeers& peers, const std::string& wanted, const Plan& plan) {
  if (wanted == "all") return peers.modes(plan.precisions);
  std::vector<PeerMode> modes = peers.modes({"fp32", "fp16"});  // whoever is named takes part in the precision it has
  const std::vector<std::string> names = parse_list("--peers", wanted), known = peers.about().at("all_modes");
  for (const std::string& name : names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw Error(Stage::kUsage, "--peers", fmt::format("there is no mode '{}'", name),
                  fmt::format("Modes: {}.", fmt::join(known, ", ")));
  std::erase_if(modes, [&](const PeerMode& m) { return std::find(names.begin(), names.end(), m.mode) == names.end(); });
  return modes;
}

void add_peers(Lineup& lineup, const Plan& plan, const std::string& wanted, Model& model, const Context& context,
               std::vector<std::string>& notes) {
  try {
    Job job(context, "starting PyTorch in Python");
    auto peers = std::make_shared<PythonPeers>(model.network(), model.path(), context.verbose);
    for (const PeerMode& mode : wanted_modes(*peers, wanted, plan))
      lineup.contestants.push_back(std::make_unique<PeerContestant>(peers, mode));
    notes.push_back(fmt::format("PyTorch in Python: {}, {}", peers->version(), peers->settings()));
  } catch (const Error& error) {
    if (error.stage() == Stage::kInterrupted || error.stage() == Stage::kUsage) throw;
    notes.push_back("PyTorch in Python was left out: " + failure_text(error) +
                    (error.hint().empty() ? "" : ". Try: " + error.hint()));
  }
}

// Dynamic sizes become those of ImageNet.
Shape image_shape(Shape shape) {
  shape.erase(shape.begin());
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (shape[i] < 0) shape[i] = i == 0 ? 3 : 224;
  return shape;
}

bool has_module(const std::string& name) {
  const auto path = backend_search_path();
  return std::any_of(path.begin(), path.end(), [&](const std::string& folder) {
    return std::filesystem::exists(folder + "/libferry_" + name + ".so");
  });
}

}  // namespace

std::vector<BackendInfo> known_engines(const std::vector<std::string>& names) {
  std::vector<BackendInfo> known = Backend::list();
  for (const std::string& name : names) {
    if (names.size() == 1 && name == kNoEngine) break;
    if (std::any_of(known.begin(), known.end(), [&](const BackendInfo& info) { return info.name == name; })) continue;
    if (!has_module(name)) {
      std::vector<std::string> all;
      all.reserve(known.size());
      for (const BackendInfo& info : known) all.push_back(info.name);
      throw Error(Stage::kUsage, "", fmt::format("there is no engine '{}'", name),
                  fmt::format("Engines: {}.", fmt::join(all, ", ")));
    }
    known.push_back(Backend::load(name).info());
  }
  return known;
}

Engine open_with(const BackendInfo& info, Precision precision, Model& model, const std::vector<std::int64_t>& batches,
                 bool force, const Context& context, OpenOptions open) {
  throw_if_interrupted();
  open.precision = ferry::name_of(precision);
  if (info.builds) return build_and_open(info, precision, model, batches, force, context, open);
  const Job job(context, fmt::format("opening {} {}", info.display_name, open.precision));
  if (opens(info, "weights") && model.has_network())
    return Backend::load(info.name).open_weights(model.network(), open, context.log());
  return Backend::load(info.name).open_onnx(bytes_of(model.onnx(precision)), open, context.log());
}

std::function<const ResNet&()> network_on_demand(Model& model) {
  if (!model.has_network()) return {};
  return [&model]() -> const ResNet& { return model.network(); };
}

Lineup open_all(const Plan& plan, const LineupOptions& options, Model& model, const Context& context,
                std::vector<std::string>& notes) {
  Lineup lineup;
  for (const BackendInfo& info : plan.engines)
    for (const std::string& precision : plan.precisions) {
      if (!runs(info, precision)) {
        notes.push_back(fmt::format("{} has no {}", info.display_name, precision));
        continue;
      }
      add_engine(lineup, info, precision, plan, options, model, context);
    }
  for (const BackendInfo& info : plan.engines)
    if (info.max_batch && *std::max_element(plan.batches.begin(), plan.batches.end()) > *info.max_batch)
      notes.push_back(fmt::format("{} takes batches of 1 to {}", info.display_name, *info.max_batch));
  if (!options.plan.empty()) add_plan(lineup, options.plan, context);
  add_referee(lineup, plan, model, context, notes);
  if (!options.peers.empty() && model.has_network()) add_peers(lineup, plan, options.peers, model, context, notes);
  if (!options.peers.empty() && !model.has_network())
    notes.push_back("PyTorch in Python was left out: it needs a checkpoint, and this is an ONNX file");
  if (!lineup.input_shape.empty()) lineup.input_shape = image_shape(lineup.input_shape);
  return lineup;
}

}  // namespace ferry::tool
