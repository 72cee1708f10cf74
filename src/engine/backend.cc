// Building and opening through a module.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/backend_impl.h"
#include "engine/json.h"

namespace ferry {
namespace {

using BackendImpl = std::shared_ptr<const Backend::Impl>;

/// What every module knows, then what only some know, where it says something.
std::string open_options_json(const OpenOptions& options, bool weights, bool plan) {
  nlohmann::json json{{"device", options.device},
                      {"precision", options.precision},
                      {"threads", options.threads},
                      {"graphs", options.graphs}};
  if (options.prefer_cpu) json["prefer_cpu"] = true;
  if (options.capture) json["capture"] = true;
  if (plan && !options.proof) json["proof"] = false;
  if (options.copy_threads) json["copy_threads"] = *options.copy_threads;
  if (options.block) json["block"] = true;
  if (!options.quick) json["quick"] = false;
  if (options.persistent_l2_bytes) json["persistent_l2_bytes"] = *options.persistent_l2_bytes;
  if (options.weight_budget_bytes) json["weight_budget_bytes"] = *options.weight_budget_bytes;
  if (weights) {
    json["height"] = options.height;
    json["width"] = options.width;
  }
  return json.dump();
}

std::string architecture_json(const ResNetArchitecture& a) {
  const bool basic = a.block == ResNetArchitecture::Block::kBasic;
  const nlohmann::json json{{"block", basic ? "basic" : "bottleneck"},
                            {"depths", a.depths},
                            {"planes", a.planes},
                            {"widths", a.widths},
                            {"groups", a.groups},
                            {"stem_channels", a.stem_channels},
                            {"input_channels", a.input_channels},
                            {"num_classes", a.num_classes}};
  return json.dump();
}

ferry_tensor as_abi(const std::string& name, const Tensor& tensor) {
  ferry_tensor t{};
  t.name = name.c_str();
  t.dtype = static_cast<std::int32_t>(tensor.dtype());
  if (tensor.shape().size() > FERRY_MAX_RANK)
    throw Error(Stage::kOpen, name, fmt::format("a tensor of rank {} cannot go to a backend", tensor.shape().size()));
  t.rank = static_cast<std::int32_t>(tensor.shape().size());
  std::copy(tensor.shape().begin(), tensor.shape().end(), t.shape);
  t.data = tensor.data();
  return t;
}

/// Refuses what the module does not open, naming what it does.
void require(const Backend::Impl& backend, const std::string& what) {
  const std::vector<std::string>& opens = backend.info.opens;
  if (std::find(opens.begin(), opens.end(), what) != opens.end()) return;
  throw Error(Stage::kOpen, backend.info.display_name,
              fmt::format("this backend opens {}, not {}", fmt::join(opens, " and "), what));
}

Engine open_with(const BackendImpl& backend, ferry_open_args args, const OpenOptions& options, const Log& log) {
  if (!backend->info.usable)
    throw Error(Stage::kOpen, backend->info.display_name, backend->info.reason, backend->info.remedy);
  auto engine = std::make_shared<ModuleEngine>(backend);
  engine->callbacks = std::make_unique<Callbacks>(Progress{}, log);
  const std::string json = open_options_json(options, args.weights != nullptr, args.plan != nullptr);
  args.struct_size = sizeof args;
  args.options_json = json.c_str();
  args.log = engine->callbacks->log();
  engine->check(engine->api().open(&args, &engine->handle), Stage::kOpen);
  std::string io;
  engine->check(engine->api().io(engine->handle, sink_into(io)), Stage::kOpen);
  engine->info = read_io(io, backend->info);
  return Engine(std::move(engine));
}

}  // namespace

Backend::Backend(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

const BackendInfo& Backend::info() const noexcept { return impl_->info; }

BuildResult Backend::build(const std::string& onnx, const BuildOptions& options, const std::string& timing_cache,
                           const Progress& progress, const Log& log) const {
  const BackendInfo& info = impl_->info;
  if (impl_->module->api().build == nullptr)
    throw Error(Stage::kBuild, info.display_name, "this backend has no engine files: it opens models directly");
  if (!info.can_build) throw Error(Stage::kBuild, info.display_name, info.reason, info.remedy);
  Callbacks callbacks(progress, log);
  const std::string json = build_options_json(options).dump();
  BuildResult result;
  ferry_build_args args{};
  args.struct_size = sizeof args;
  args.onnx = onnx.data();
  args.onnx_size = onnx.size();
  args.options_json = json.c_str();
  args.timing_cache = timing_cache.empty() ? nullptr : timing_cache.data();
  args.timing_cache_size = timing_cache.size();
  args.progress = callbacks.progress();
  args.log = callbacks.log();
  args.plan = sink_into(result.plan);
  args.timing_cache_out = sink_into(result.timing_cache);
  args.report_json = sink_into(result.report_json);
  const ferry_status status = impl_->module->api().build(&args);
  callbacks.rethrow();
  impl_->module->check(status, Stage::kBuild, info.display_name);
  if (result.plan.empty())
    throw Error(Stage::kBuild, info.display_name, "the module reported success but wrote no plan");
  return result;
}

Engine Backend::open_plan(const std::string& plan, const OpenOptions& options, const Log& log) const {
  require(*impl_, "plan");
  ferry_open_args args{};
  args.plan = plan.data();
  args.plan_size = plan.size();
  return open_with(impl_, args, options, log);
}

Engine Backend::open_onnx(const std::string& onnx, const OpenOptions& options, const Log& log) const {
  require(*impl_, "onnx");
  ferry_open_args args{};
  args.onnx = onnx.data();
  args.onnx_size = onnx.size();
  return open_with(impl_, args, options, log);
}

Engine Backend::open_weights(const ResNet& network, const OpenOptions& options, const Log& log) const {
  require(*impl_, "weights");
  std::vector<ferry_tensor> weights;
  for (const auto& [name, tensor] : network.weights) weights.push_back(as_abi(name, tensor));
  const std::string architecture = architecture_json(network.architecture);
  ferry_open_args args{};
  args.weights = weights.data();
  args.weights_count = weights.size();
  args.architecture_json = architecture.c_str();
  return open_with(impl_, args, options, log);
}

}  // namespace ferry
