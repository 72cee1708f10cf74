// ferry build MODEL -o model.plan: an engine for this GPU, or for another one.
#include <fmt/core.h>

#include <filesystem>
#include <memory>

#include "build_set.h"
#include "cli.h"
#include "console.h"
#include "ferry/ferry.h"
#include "form_flags.h"
#include "lineup.h"
#include "model.h"
#include "plan_text.h"
#include "progress.h"
#include "text.h"

namespace ferry::tool {
namespace {

struct BuildFlags {
  ModelOptions model;
  std::string output, backend, batches, target;
  std::string precision;
  std::optional<std::int64_t> workspace_mib;
  std::optional<int> optimization_level, aux_streams, timing_runs;
  std::string tactics;
  bool tf32 = false, weight_streaming = false, force = false;
  int device = 0;
  FormFlags form;
};

// An ONNX file is built in the precision that it has; a checkpoint in fp32, unless asked otherwise.
std::string onnx_of(const BuildFlags& options, Model& model) {
  if (!options.precision.empty()) return model.onnx(precision_named(options.precision));
  if (model.kind() != ModelKind::kOnnx) return model.onnx(Precision::kFp32);
  return model.onnx(OnnxModel::load(model.path()).summary().precision);
}

BuildRequest request_of(const BuildFlags& options, const Context& context) {
  BuildRequest request;
  request.plan_path = options.output;
  request.backend = options.backend;
  request.force = options.force;
  request.log = context.log();
  BuildOptions& build = request.options;
  if (!options.batches.empty()) build.profiles = parse_profiles(options.batches);
  build.target = options.target;
  build.optimization_level = options.optimization_level;
  build.aux_streams = options.aux_streams;
  build.timing_runs = options.timing_runs;
  if (!options.tactics.empty()) build.tactics = parse_list("--tactics", options.tactics);
  build.tf32 = options.tf32;
  build.weight_streaming = options.weight_streaming;
  build.device = options.device;
  if (options.workspace_mib) build.workspace_bytes = *options.workspace_mib * 1024 * 1024;
  return request;
}

std::string summary(const BuildOutcome& outcome) {
  const std::string how =
      outcome.cache_hit
          ? "from the cache"
          : fmt::format("built in {} ({})", human_seconds(outcome.sidecar.build_seconds), outcome.cache_reason);
  const auto size = static_cast<double>(std::filesystem::file_size(outcome.plan_path));
  return fmt::format("{}: {} engine, {}, {}\n", console().out_style(Style::kBold, outcome.plan_path),
                     outcome.sidecar.precision, human_bytes(size), how);
}

// Several engines, and for each batch the plan of the fastest.
int build_set(const BuildFlags& options, const Context& context) {
  SetOptions set{options.model, options.backend, options.batches};
  BuildFlags one = options;
  one.backend.clear();
  one.batches.clear();
  PlanSetRequest request = set_request(set, request_of(one, context));
  set.model.form = options.form.resolved();
  Model model(set.model, context);
  request.build.onnx_path = onnx_of(options, model);
  return build_plan_set_of(model, request, context);
}

int build(const BuildFlags& options, const Context& context) {
  if (names_set(options.backend)) return build_set(options, context);
  BuildRequest request = request_of(options, context);  // refuses wrong usage before anything is read
  ModelOptions wanted = options.model;
  wanted.form = options.form.resolved();
  Model model(wanted, context);
  request.onnx_path = onnx_of(options, model);
  request.origin = model.origin();
  request.network = network_on_demand(model);
  std::error_code error;
  if (std::filesystem::equivalent(options.output, options.model.model, error))
    throw Error(Stage::kUsage, options.output, "is the model itself", "Give the plan another name.");
  BuildOutcome outcome;
  {
    Job job(context, fmt::format("building an engine of {}", options.model.model));
    request.progress = job.progress();
    outcome = build_engine(request);
  }
  context.emit({{"plan", outcome.plan_path},
                {"cache_hit", outcome.cache_hit},
                {"cache_reason", outcome.cache_reason},
                {"cautions", outcome.cautions},
                {"sidecar", Json::parse(ferry::to_json(outcome.sidecar))}});
  for (const std::string& caution : outcome.cautions) context.warn(caution);
  Rows rows = plan_rows(outcome.sidecar);
  if (options.batches.empty()) rows.emplace_back("", "chosen by ferry; --batch 1:8:64 or --batch 1,8,32 sets others");
  for (const std::string& note : model.notes()) rows.emplace_back("adapted", note);
  rows.emplace_back("next",
                    fmt::format("ferry infer {} --input x.npy --output y.npy", shell_quoted(outcome.plan_path)));
  context.print(summary(outcome));
  context.print(key_values(rows));
  return kGood;
}

void add_tuning_options(CLI::App* verb, BuildFlags& options) {
  verb->add_option("--workspace", options.workspace_mib, "Scratch memory limit (default: what is free on the GPU)")
      ->type_name("MiB")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20));
  verb->add_option("--optimization-level", options.optimization_level, "0 (quick build) to 5 (quick engine)")
      ->type_name("N")
      ->check(CLI::Range(0, 5));
  verb->add_option("--tactics", options.tactics, "Sources of kernels, by the SDK's names (default: the SDK's choice)")
      ->type_name("LIST");
  verb->add_option("--aux-streams", options.aux_streams,
                   "Streams for branches that can run at once (default: the SDK's)")
      ->type_name("N")
      ->check(CLI::Range(0, 64));
  verb->add_option("--timing-runs", options.timing_runs,
                   "Times each kernel so often before choosing (default: the SDK's)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000));
  verb->add_flag("--tf32", options.tf32, "Let FP32 convolutions use TF32: quicker, about 3 digits");
  verb->add_flag("--weight-streaming", options.weight_streaming,
                 "Let weights stay in host memory (--weight-budget of bench, ...)");
  verb->add_option("--device", options.device, "Number of the GPU (default: 0)")
      ->type_name("N")
      ->check(CLI::Range(0, 63));
}

}  // namespace

void add_build(Cli& cli) {
  auto options = std::make_shared<BuildFlags>();
  CLI::App* verb = cli.add_verb("build", "Build an engine plan for a GPU (this one, or another with --target)",
                                [options](const Context& context) { return build(*options, context); });
  add_model_options(verb, options->model, "ONNX file, checkpoint, or the name of a network");
  verb->add_option("-o,--output", options->output, "The plan (default: in the cache)")->type_name("FILE");
  verb->add_option("--backend", options->backend, "The engine to build with; auto, or A,B: the fastest for each batch")
      ->type_name("NAME");
  verb->add_option("--batch", options->batches, "Batch sizes: 8, or smallest:best:largest, or several: 1,2:8:64")
      ->type_name("LIST");
  verb->add_option("--target", options->target, "Compute capability of another GPU: 8.9 for an RTX 4060")
      ->type_name("CC");
  verb->add_option("--precision", options->precision, "Of a checkpoint's export: fp32 or fp16 (default: fp32)")
      ->type_name("NAME");
  add_tuning_options(verb, *options);
  options->form.add_to(verb);
  verb->add_flag("--force", options->force, "Build again even where the cache has it");
  verb->footer(
      "Examples:\n"
      "  ferry build model.onnx -o model.plan --batch 1:8:64\n"
      "  ferry build resnet101.pth --precision fp16 --backend auto --batch 1,2,4,8,32 -o net.plan\n"
      "  ferry build resnet101.pth --precision fp16 --target 8.9 -o rtx4060.plan    (needs no GPU)");
}

}  // namespace ferry::tool
