// ferry quantize MODEL --calibration DIR -o model.int8.onnx: a standard INT8 Q/DQ file.
#include "ferry/quantize.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "cli.h"
#include "console.h"
#include "ferry/ferry.h"
#include "form_flags.h"
#include "model.h"
#include "pictures.h"
#include "plan_text.h"
#include "progress.h"
#include "text.h"

namespace ferry::tool {
namespace {

struct QuantizeFlags {
  ModelOptions model;
  std::string calibration, ranges, output, method = "mse", keep, backend, images, labels, input = "float",
                                           full_range = "blocks";
  double percentile = 99.99;
  int first_layer_bits = 7;
  bool no_equalise = false, no_bias_correction = false;
  std::int64_t max_images = 0;
  std::uint64_t seed = 0;
  std::optional<double> max_drop;
  PictureFlags pictures;
};

bool from_file(const QuantizeFlags& options) { return options.calibration.ends_with(".json"); }

// Where the statistics are kept, or come from.
std::string calibration_path(const QuantizeFlags& options) {
  if (from_file(options)) return options.calibration;
  if (!options.ranges.empty()) return options.ranges;
  std::filesystem::path path = options.output;
  return path.replace_extension(".calibration.json").string();
}

QuantizeRequest request_of(const QuantizeFlags& options, const PictureFacts& facts, const Context& context) {
  QuantizeRequest request;
  request.options.range = {range_method_named(options.method), options.percentile};
  request.options.correct_bias = !options.no_bias_correction;
  request.options.full_range = full_range_named(options.full_range);
  request.options.first_layer_bits = options.first_layer_bits;
  if (!options.keep.empty())
    for (const std::string& node : parse_list("--keep", options.keep)) request.options.keep.insert(node);
  request.equalise = !options.no_equalise;
  request.calibrate.loader = options.pictures.loader(facts);
  request.calibrate.max_images = options.max_images;
  request.calibrate.seed = options.seed;
  request.backend = options.backend;
  request.log = context.log();
  return request;
}

// An option that would change nothing is a mistake.
void refuse_idle(const QuantizeFlags& options, const CLI::App& verb) {
  const auto refuse = [&](std::initializer_list<const char*> names, const char* why) {
    for (const char* name : names)
      if (verb.count(name) > 0) throw Error(Stage::kUsage, name, why);
  };
  if (from_file(options))
    refuse({"--max-images", "--seed", "--ranges", "--no-equalise"},
           "goes with pictures: the calibration file was made without it");
  if (from_file(options) && !options.max_drop)
    refuse({"--preset", "--resize", "--crop", "--mean", "--std", "--batch", "--decode-threads", "--exif", "--backend"},
           "has nothing to do: neither calibration nor --max-drop reads pictures here");
  if (options.method != "percentile") refuse({"--percentile"}, "goes with --method percentile");
  if (!options.max_drop) refuse({"--images", "--labels"}, "goes with --max-drop; ferry eval measures accuracy alone");
  if (options.images.empty()) refuse({"--labels"}, "goes with --images");
  if (options.max_images <= 0) refuse({"--seed"}, "goes with --max-images");
}

void check(const QuantizeFlags& options) {
  std::error_code error;
  if (std::filesystem::equivalent(options.output, options.model.model, error))
    throw Error(Stage::kUsage, options.output, "is the model itself", "Give the INT8 file another name.");
}

// From pictures, or from the file that an earlier run left.
Quantized quantize_now(const OnnxModel& model, const QuantizeFlags& options, const QuantizeRequest& request) {
  if (from_file(options)) return quantize(model, read_calibration_file(options.calibration), request);
  return quantize(model, find_images(options.calibration), request);
}

GateResult gate(const Quantized& quantized, const QuantizeFlags& options, const QuantizeRequest& request,
                const Context& context) {
  if (options.images.empty() && from_file(options))
    throw Error(Stage::kUsage, "--max-drop", "needs pictures", "Give --images DIR.");
  GateRequest gate;
  gate.max_drop = *options.max_drop;
  gate.images = options.images.empty() ? find_images(options.calibration) : find_set(options.images, options.labels);
  gate.loader = request.calibrate.loader;
  gate.backend = request.backend;
  gate.options = request.options;
  Job job(context, "checking accuracy");
  gate.progress = job.progress();
  return repair(quantized, gate);
}

Json report_json(const QuantizeFlags& options, const Quantized& quantized, const QuantizeReport& report) {
  Json layers = Json::array(), kept = Json::array(), groups = Json::array(), seconds = Json::object();
  for (const StageTime& stage : quantized.stages) seconds[stage.stage] = stage.seconds;
  for (const QuantizedNode& node : report.quantized)
    layers.push_back({{"node", node.node},
                      {"op", node.op},
                      {"input_range", node.input_range},
                      {"full_range", node.full_range},
                      {"weight_noise", node.weight_noise},
                      {"residual", node.residual}});
  for (const KeptNode& node : report.kept)
    kept.push_back({{"node", node.node}, {"op", node.op}, {"reason", node.reason}});
  for (const EqualisedGroup& group : quantized.equalised)
    groups.push_back(
        {{"tensors", group.tensors}, {"noise_before", group.noise_before}, {"noise_after", group.noise_after}});
  return {{"output", options.output},
          {"method", options.method},
          {"images", quantized.calibration.ranges.images},
          {"engine", quantized.calibration.ranges.engine},
          {"calibration", calibration_path(options)},
          {"seconds", std::move(seconds)},
          {"equalised", std::move(groups)},
          {"bias_correction", !options.no_bias_correction},
          {"layers", std::move(layers)},
          {"kept", std::move(kept)},
          {"notes", report.notes}};
}

Json gate_json(const GateResult& gate) {
  Json costs = Json::array();
  for (const LayerCost& cost : gate.costs)
    costs.push_back({{"node", cost.node},
                     {"relative_error", cost.relative_error},
                     {"milliseconds", cost.milliseconds ? Json(*cost.milliseconds) : Json(nullptr)}});
  return {{"passed", gate.passed},           {"measure", gate.by_labels ? "top-1" : "agreement"},
          {"drop_before", gate.drop_before}, {"drop_after", gate.drop_after},
          {"reverted", gate.reverted},       {"costs", std::move(costs)}};
}

void show_gate(const GateResult& gate, double limit, const Context& context) {
  const char* const what = gate.by_labels ? "top-1" : "agreement with the float model";
  if (gate.reverted.empty() && gate.passed) {
    context.print(
        fmt::format("  {} drops by {:.2f} points: within the limit of {:.2f}\n", what, gate.drop_before, limit));
    return;
  }
  context.print(fmt::format(
      "  {} drops by {:.2f} points, more than the limit of {:.2f}; {}\n", what, gate.drop_before, limit,
      gate.passed ? fmt::format("with {} layers back in FP16 it is {:.2f}", gate.reverted.size(), gate.drop_after)
                  : "no number of layers in float repairs it"));
  std::vector<std::vector<std::string>> rows{{"  layer", "error alone", "now", "costs an image"}};
  for (const LayerCost& cost : gate.costs) {
    const bool back = std::find(gate.reverted.begin(), gate.reverted.end(), cost.node) != gate.reverted.end();
    if (back || rows.size() < 6)
      rows.push_back({"  " + printable(cost.node), fmt::format("{:.3g} %", 100 * cost.relative_error),
                      back ? "fp16" : "int8", cost.milliseconds ? fmt::format("{:+.3f} ms", *cost.milliseconds) : ""});
  }
  context.print(table(rows, "lrlr"));
}

// What the INT8 file takes: pixels are normalised in it as the pictures of the calibration were.
void give_form(const QuantizeFlags& options, const Preprocessing& preprocessing, OnnxModel& model) {
  FormFlags flags;
  flags.input = options.input;
  GraphForm form = flags.resolved();
  if (is_default(form)) return;
  form.mean.assign(preprocessing.mean.begin(), preprocessing.mean.end());
  form.std.assign(preprocessing.std.begin(), preprocessing.std.end());
  fold_form(model, form);
  attach_form(model, form);
}

void show(const QuantizeFlags& options, const Quantized& quantized, const QuantizeReport& report, double seconds,
          const Context& context) {
  context.print(fmt::format("{}: INT8, {} layers quantised, {} kept in float, in {}\n",
                            console().out_style(Style::kBold, printable(options.output)), report.quantized.size(),
                            report.kept.size(), human_seconds(seconds)));
  double before = 0, after = 0;
  for (const EqualisedGroup& group : quantized.equalised) before += group.noise_before, after += group.noise_after;
  Rows rows = {
      {"pictures",
       fmt::format("{} through {}", quantized.calibration.ranges.images, quantized.calibration.ranges.engine)},
      {"ranges", fmt::format("{}; kept in {}", options.method, calibration_path(options))},
      {"equalised", quantized.equalised.empty() ? "nothing"
                                                : fmt::format("{} groups of tensors, predicted noise {:.2g} -> {:.2g}",
                                                              quantized.equalised.size(), before, after)},
      {"biases", options.no_bias_correction ? "as they were" : "corrected for the rounding of weights"}};
  for (const KeptNode& kept : report.kept)
    rows.emplace_back("in float", printable(fmt::format("{} ({}): {}", kept.node, kept.op, kept.reason)));
  constexpr std::size_t kShown = 5;
  for (std::size_t i = 0; i < report.notes.size() && i < kShown; ++i)
    rows.emplace_back("note", printable(report.notes[i]));
  if (report.notes.size() > kShown)
    rows.emplace_back("note", fmt::format("and {} more (--json has all)", report.notes.size() - kShown));
  rows.emplace_back("next", "ferry eval " + shell_quoted(options.output) + " --reference " +
                                shell_quoted(options.model.model) + " --images DIR");
  context.print(key_values(rows));
}

int quantize_model(const QuantizeFlags& options, const CLI::App& verb, const Context& context) {
  refuse_idle(options, verb);
  check(options);
  Model source(options.model, context);
  if (!is_default(source.form()))
    throw Error(Stage::kQuantize, options.model.model, "has a form already: " + to_string(source.form()),
                "Quantise the plain network, with --input uint8 if the INT8 file is to take pixels.");
  QuantizeRequest request = request_of(options, facts_of(source), context);
  OnnxModel model = OnnxModel::load(source.onnx(Precision::kFp32));
  fold_batch_norm(model);
  auto job = std::make_unique<Job>(context, fmt::format("quantising {}", options.model.model));
  request.calibrate.progress = job->progress();
  Quantized quantized = quantize_now(model, options, request);
  const double seconds = job->seconds();
  job.reset();
  Json json;
  if (options.max_drop) {
    GateResult result = gate(quantized, options, request, context);
    quantized.int8_model = std::move(result.model);
    quantized.report = result.report;
    json["gate"] = gate_json(result);
    show_gate(result, *options.max_drop, context);
    if (!result.passed)
      throw Error(Stage::kQuantize, options.output, "the accuracy limit cannot be met; nothing was written",
                  "Raise --max-drop.");
  }
  if (!from_file(options)) write_file(calibration_path(options), to_json(quantized.calibration), Stage::kQuantize);
  give_form(options, request.calibrate.loader.preprocessing, quantized.int8_model);
  quantized.int8_model.save(options.output);
  json.update(report_json(options, quantized, quantized.report));
  context.emit(json);
  show(options, quantized, quantized.report, seconds, context);
  return report_broken(quantized.calibration.ranges.broken, context) ? kFailed : kGood;
}

void add_gate_options(CLI::App* verb, QuantizeFlags& options) {
  verb->add_option("--max-drop", options.max_drop,
                   "Take layers back to float until top-1 (or agreement) drops by at most P points")
      ->type_name("P");
  verb->add_option("--images", options.images, "Pictures that --max-drop is measured on (default: the calibration's)")
      ->type_name("DIR");
  verb->add_option("--labels", options.labels, "Their labels: lines `file,class number`")->type_name("FILE");
}

}  // namespace

void add_quantize(Cli& cli) {
  auto options = std::make_shared<QuantizeFlags>();
  auto self = std::make_shared<CLI::App*>(nullptr);  // to ask which options were given
  CLI::App* verb = *self =
      cli.add_verb("quantize", "Make a standard INT8 (Q/DQ) ONNX file, calibrated on pictures",
                   [options, self](const Context& context) { return quantize_model(*options, **self, context); });
  add_model_options(verb, options->model, "ONNX file, checkpoint, or the name of a network");
  verb->add_option("--calibration", options->calibration, "Folder of pictures, or the .json of an earlier run")
      ->type_name("DIR")
      ->required();
  verb->add_option("-o,--output", options->output, "The INT8 ONNX file")->type_name("FILE")->required();
  verb->add_option("--method", options->method, "Ranges: max, percentile, entropy or mse")
      ->type_name("NAME")
      ->capture_default_str();
  verb->add_option("--percentile", options->percentile, "For --method percentile")
      ->check(CLI::Range(50.0, 100.0))
      ->capture_default_str();
  verb->add_option("--ranges", options->ranges, "Where statistics are kept (default: OUTPUT.calibration.json)")
      ->type_name("FILE");
  verb->add_option("--max-images", options->max_images, "Use at most N pictures, drawn with --seed")->type_name("N");
  verb->add_option("--seed", options->seed, "For --max-images")->type_name("N");
  verb->add_option("--keep", options->keep, "Nodes that stay in float, separated by commas")->type_name("NODES");
  verb->add_option("--input", options->input, "float (normalised), uint8 (pixels N,H,W,C) or uint8-nchw")
      ->check(CLI::IsMember({"float", "uint8", "uint8-nchw"}))
      ->capture_default_str()
      ->type_name("FORM");
  verb->add_option("--first-layer-bits", options->first_layer_bits,
                   "Of the weights that meet the picture: 7, or 8 where no x86 processor without VNNI runs the file")
      ->check(CLI::IsMember({7, 8}))
      ->capture_default_str()
      ->type_name("BITS");
  verb->add_flag("--no-equalise", options->no_equalise, "Do not equalise channels across layers");
  verb->add_flag("--no-bias-correction", options->no_bias_correction, "Leave the biases alone");
  verb->add_option(
          "--full-range", options->full_range,
          "Activations behind relu with all of int8's values: off, blocks, or all (the stem's too: more exact; some "
          "engines take longer)")
      ->check(CLI::IsMember({"off", "blocks", "all"}))
      ->capture_default_str()
      ->type_name("WHICH");
  verb->add_option("--backend", options->backend, "The engine that runs the float model (default: the fastest here)")
      ->type_name("NAME");
  add_gate_options(verb, *options);
  options->pictures.add_to(verb);
}

}  // namespace ferry::tool
