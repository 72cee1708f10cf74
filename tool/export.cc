// ferry export MODEL -o model.onnx: a checkpoint as an ONNX file that others understand.
#include <fmt/core.h>

#include <chrono>
#include <filesystem>
#include <memory>

#include "cli.h"
#include "console.h"
#include "ferry/ferry.h"
#include "form_flags.h"
#include "model.h"
#include "plan_text.h"
#include "progress.h"
#include "signals.h"
#include "text.h"

namespace ferry::tool {
namespace {

struct ExportFlags {
  ModelOptions model;
  std::string output;
  std::string precision = "fp32";
  bool fp16_io = false;
  FormFlags form;
};

ExportOptions checked(const ExportFlags& options) {
  ExportOptions result;
  result.precision = precision_named(options.precision);
  if (result.precision == Precision::kInt8)
    throw Error(Stage::kUsage, "--precision", "an export is fp32 or fp16", "INT8 needs calibration pictures.");
  if (options.fp16_io && result.precision != Precision::kFp16)
    throw Error(Stage::kUsage, "--fp16-io", "goes with --precision fp16");
  result.fp16_io = options.fp16_io;
  result.keep_batch_norm = options.model.keep_batch_norm;
  result.form = options.form.resolved();
  std::error_code error;
  if (std::filesystem::equivalent(options.output, options.model.model, error))
    throw Error(Stage::kUsage, options.output, "is the checkpoint itself", "Give the ONNX file another name.");
  return result;
}

struct Exported {
  std::string network, origin, sha256;
  bool random = false;
  std::vector<std::string> notes;
  OnnxSummary summary;
  double seconds = 0;
};

Exported export_network(Model& source, const ExportOptions& how, const std::string& path) {
  ResNet network = source.take_network();
  Exported result{network.architecture.name(), network.origin, "", network.random, network.notes, {}, 0};
  const OnnxModel model = export_onnx(std::move(network), how);
  throw_if_interrupted();
  result.sha256 = model.save(path);
  result.summary = model.summary();
  return result;
}

void show(const Exported& exported, const ExportOptions& how, const std::string& path, const Context& context) {
  const OnnxSummary& summary = exported.summary;
  context.emit({{"file", path},
                {"sha256", exported.sha256},
                {"network", exported.network},
                {"origin", exported.origin},
                {"random_weights", exported.random},
                {"precision", ferry::name_of(how.precision)},
                {"form", Json::parse(to_json(form_of(summary.metadata, path)))},
                {"opset", summary.opset},
                {"parameters", summary.parameters},
                {"seconds", exported.seconds}});
  const auto size = static_cast<double>(std::filesystem::file_size(path));
  context.print(fmt::format("{}: {}, {}, opset {}, {}, exported in {}\n", console().out_style(Style::kBold, path),
                            exported.network, ferry::name_of(how.precision), summary.opset, human_bytes(size),
                            human_seconds(exported.seconds)));
  Rows rows = {{"weights", printable(exported.origin)},
               {"input", ports_text(summary.inputs)},
               {"output", ports_text(summary.outputs)},
               {"sha256", exported.sha256}};
  if (!is_default(how.form)) rows.emplace_back("form", to_string(how.form));
  for (const std::string& note : exported.notes) rows.emplace_back("note", printable(note));
  rows.emplace_back("next", "ferry compare " + shell_quoted(path));
  context.print(key_values(rows));
}

int export_model(const ExportFlags& options, const Context& context) {
  const ExportOptions how = checked(options);
  Model source(options.model, context);
  if (!source.has_network())
    throw Error(Stage::kUsage, options.model.model, "is not a checkpoint",
                "ferry build and ferry compare take ONNX files.");
  Job job(context, fmt::format("exporting {} to {}", options.model.model, options.output));
  Exported exported = export_network(source, how, options.output);
  exported.seconds = job.seconds();
  show(exported, how, options.output, context);
  return kGood;
}

}  // namespace

void add_export(Cli& cli) {
  auto options = std::make_shared<ExportFlags>();
  CLI::App* verb = cli.add_verb("export", "Write a checkpoint as an ONNX file (opset 17, dynamic batch)",
                                [options](const Context& context) { return export_model(*options, context); });
  add_model_options(verb, options->model, "checkpoint (.pth, .pt, .safetensors) or the name of a network");
  verb->add_option("-o,--output", options->output, "The ONNX file")->type_name("FILE")->required();
  verb->add_option("--precision", options->precision, "fp32 or fp16: weights and arithmetic")->capture_default_str();
  verb->add_flag("--fp16-io", options->fp16_io, "FP16 input and output too (with --precision fp16)");
  verb->add_flag("--keep-batch-norm", options->model.keep_batch_norm, "Do not fold batch norm into the convolutions");
  options->form.add_to(verb);
}

}  // namespace ferry::tool
