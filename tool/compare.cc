// ferry compare MODEL: the whole mission in one command.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "cli.h"
#include "compare_pictures.h"
#include "console.h"
#include "ferry/ferry.h"
#include "ferry/report.h"
#include "form_flags.h"
#include "lineup.h"
#include "load_match.h"
#include "match.h"
#include "measure_options.h"
#include "model.h"
#include "picture_match.h"
#include "pictures.h"
#include "preprocessing_options.h"
#include "progress.h"
#include "signals.h"

namespace ferry::tool {
namespace {

struct CompareFlags {
  ModelOptions model;
  std::string batches, precisions, backends;
  std::string peers, plan;
  PictureOptions pictures;
  bool force = false;
  LoadFlags load;
  MeasureFlags measure;
  FormFlags form;
  std::string report;
};

LineupOptions lineup_options(const CompareFlags& options) {
  LineupOptions lineup;
  lineup.peers = options.peers;
  lineup.plan = options.plan;
  lineup.force = options.force;
  lineup.model = options.model.model;
  if (!options.batches.empty()) lineup.batches = parse_batches("--batch", options.batches);
  if (!options.backends.empty()) lineup.backends = parse_list("--backends", options.backends);
  if (options.backends == kNoEngine && options.plan.empty())
    throw Error(Stage::kUsage, "--backends none", "leaves nothing to compare", "Name a plan too: --plan FILE");
  if (!options.precisions.empty()) lineup.precisions = parse_list("--precision", options.precisions);
  for (const std::string& precision : lineup.precisions) precision_named(precision);  // refuses what is none
  const bool int8 = std::find(lineup.precisions.begin(), lineup.precisions.end(), "int8") != lineup.precisions.end();
  if (!int8 && !options.model.calibration.empty())
    throw Error(Stage::kUsage, "--calibration", "is for INT8", "Add --precision fp32,fp16,int8.");
  if (options.pictures.images.empty() && !options.pictures.labels.empty())
    throw Error(Stage::kUsage, "--labels", "goes with --images");
  return lineup;
}

// The pictures that are evaluated, else those of the calibration: noise is not what INT8 ranges were made for.
std::optional<ImageSet> pictures_of(const CompareFlags& options) {
  if (!options.pictures.images.empty()) return find_set(options.pictures.images, options.pictures.labels);
  const std::string& calibration = options.model.calibration;
  if (calibration.empty() || calibration.ends_with(".json")) return std::nullopt;
  return find_images(calibration);
}

// Where the graph normalises pixels itself, everyone else gets pictures that were normalised as it does.
Preprocessing preprocessing_of(Model& model) {
  Preprocessing preprocessing = PreprocessingFlags{}.settle(facts_of(model));
  const GraphForm form = model.form();
  if (form.mean.size() == 3) std::copy(form.mean.begin(), form.mean.end(), preprocessing.mean.begin());
  if (form.std.size() == 3) std::copy(form.std.begin(), form.std.end(), preprocessing.std.begin());
  return preprocessing;
}

Comparison start(Model& model, const std::vector<BackendInfo>& known, const Context& context) {
  Comparison comparison;
  comparison.network = model.name();
  comparison.origin = model.origin();
  comparison.random_weights = model.random();
  comparison.machine_json = machine_json(known);
  comparison.command = context.command;
  comparison.started_at = timestamp();
  return comparison;
}

// One batch of inputs after the other, of any size.
class Inputs {
 public:
  /// `pixels`: the form of engines that take uint8, where there are any.
  Inputs(Shape image, const std::optional<ImageSet>& pictures, Preprocessing preprocessing,
         std::optional<GraphForm> pixels)
      : shape_(std::move(image)),
        pictures_(pictures),
        preprocessing_(std::move(preprocessing)),
        pixels_(std::move(pixels)) {}

  std::string name() const {
    if (pictures_) return fmt::format("pictures {}", to_string(shape_));
    return fmt::format("{} {}, seed {}", pixels_ ? "random pixels" : "standard normal", to_string(shape_), kSeed);
  }
  const std::optional<ImageSet>& pictures() const noexcept { return pictures_; }
  const Preprocessing& preprocessing() const noexcept { return preprocessing_; }
  Tensor batch(std::int64_t count) const {
    if (pictures_) return picture_inputs(*pictures_, count, preprocessing_);
    Shape shape = shape_;
    shape.insert(shape.begin(), count);
    return test_pictures(shape, kSeed, pixels_ ? &*pixels_ : nullptr);
  }

 private:
  static constexpr std::uint64_t kSeed = 1;
  Shape shape_;  // of one image
  const std::optional<ImageSet>& pictures_;
  Preprocessing preprocessing_;
  std::optional<GraphForm> pixels_;
};

void measure_all(const Lineup& lineup, const Plan& plan, const LoadFlags& load, const Inputs& inputs,
                 const MeasureOptions& how, Comparison& comparison, const Context& context) {
  comparison.inputs = inputs.name();
  for (const std::int64_t batch : plan.batches) {
    if (!lineup.contestants.empty()) {  // none: every engine failed, and the rows below say why
      const Tensor input = inputs.batch(batch);
      Job job(context, fmt::format("measuring batch {}", batch));
      for (const std::string& mode : load.mode_list()) {
        const bool from_files = mode == name_of(LoadKind::kEndToEnd) && inputs.pictures();
        auto rows = from_files ? play_pictures(lineup.contestants, lineup.reference, *inputs.pictures(),
                                               inputs.preprocessing(), batch, how, job.progress(), comparison.notes)
                               : play_mode(mode, load, lineup.contestants, lineup.reference, input.view(), how,
                                           job.progress(), comparison.notes);
        std::move(rows.begin(), rows.end(), std::back_inserter(comparison.rows));
      }
    }
    for (ComparisonRow row : lineup.failed) {
      row.measurement.batch = batch;
      comparison.rows.push_back(std::move(row));
    }
  }
  set_speedups(comparison);
}

void say_what_limits_it(const Lineup& lineup, Model& model, Comparison& comparison) {
  if (const GraphForm form = model.form(); !is_default(form))
    comparison.notes.push_back("Form of the ONNX graph: " + to_string(form) +
                               "; engines that take the weights get the same pictures, normalised");
  for (const std::string& note : model.notes()) comparison.notes.push_back("The ONNX file was adapted: " + note);
  if (lineup.reference == nullptr)
    comparison.notes.push_back("No engine here can be the reference (fp32): outputs were only checked to be finite");
  else if (lineup.contestants.size() == 1 && !lineup.referee)
    comparison.notes.push_back("Only one engine took part: its outputs were compared with nothing");
  else if (!lineup.referee && !model.has_network())
    comparison.notes.push_back("The reference is " + lineup.reference->row.engine + " in fp32");
}

int finish(const Comparison& comparison, const std::string& page, const Context& context) {
  if (comparison.rows.empty())
    throw Error(Stage::kCompare, comparison.network,
                fmt::format("no engine took part: {}", fmt::join(comparison.notes, "; ")),
                "Engines and what they can run: ferry doctor.");
  if (!context.json.empty()) context.emit_text(to_json(comparison));
  if (!page.empty()) write_file(page, to_html(comparison), Stage::kReport);
  context.print(to_table(comparison, console().color_out()));
  if (!all_agree(comparison)) return kDisagreement;
  const bool incomplete = std::any_of(comparison.rows.begin(), comparison.rows.end(),
                                      [](const ComparisonRow& row) { return !row.failure.empty(); });
  return incomplete ? kFailed : kGood;
}

int compare(const CompareFlags& options, const Context& context) {
  const LineupOptions wanted = lineup_options(options);
  options.load.mode_list();  // refuse wrong usage before anything is opened
  options.load.session_count();
  const std::vector<BackendInfo> known = known_engines(wanted.backends);
  const std::optional<ImageSet> pictures = pictures_of(options);
  ModelOptions wanted_model = options.model;
  wanted_model.form = options.form.resolved();
  if (!options.model.calibration.empty() && !is_default(wanted_model.form))
    throw Error(Stage::kUsage, "--calibration", "goes with graphs of the plain form only",
                "Leave --input, --top-k and the other forms out, or measure without int8.");
  Model model(wanted_model, context);
  if (model.kind() == ModelKind::kPlan) model.onnx(Precision::kFp32);  // throws, saying what goes
  if (pictures && model.form().top_k > 0) refuse_top_k(model.name());
  const Plan plan = plan_of(known, wanted, model.has_network());
  Comparison comparison = start(model, known, context);
  const Lineup lineup = open_all(plan, wanted, model, context, comparison.notes);
  const Preprocessing preprocessing = preprocessing_of(model);
  const std::optional<GraphForm> pixels = lineup.pixels ? std::optional(model.form()) : std::nullopt;
  measure_all(lineup, plan, options.load, {lineup.input_shape, pictures, preprocessing, pixels},
              options.measure.resolved(plan.device_kind), comparison, context);
  if (!options.pictures.images.empty())
    evaluate_on_pictures(lineup, *pictures, preprocessing, *std::max_element(plan.batches.begin(), plan.batches.end()),
                         comparison, context);
  comparison.notes.insert(comparison.notes.end(), plan.notes.begin(), plan.notes.end());
  say_what_limits_it(lineup, model, comparison);
  return finish(comparison, options.report, context);
}

}  // namespace

void add_compare(Cli& cli) {
  auto options = std::make_shared<CompareFlags>();
  CLI::App* verb = cli.add_verb("compare", "Run a network on every engine here and compare speed and outputs",
                                [options](const Context& context) { return compare(*options, context); });
  add_model_options(verb, options->model, "checkpoint, ONNX file, or the name of a network");
  verb->add_option("--batch", options->batches, "Batch sizes, for example 1,8,32 (default: 1,8; more on a GPU)")
      ->type_name("LIST");
  verb->add_option("--precision", options->precisions, "Of fp32, fp16, int8: fp32,fp16 (default: fp32; both on a GPU)")
      ->type_name("LIST");
  verb->add_option("--calibration", options->model.calibration,
                   "For int8: a folder of pictures, or the .json that ferry quantize left")
      ->type_name("DIR");
  verb->add_option("--images", options->pictures.images, "Run these pictures too: agreement and, with labels, top-1")
      ->type_name("DIR");
  verb->add_option("--labels", options->pictures.labels, "Lines `file,class number` (default: DIR/labels.csv)")
      ->type_name("FILE");
  verb->add_option("--backends", options->backends, "Only these engines (names: ferry doctor); none: only --plan")
      ->type_name("LIST");
  verb->add_option("--plan", options->plan, "A plan or plan set that you built of this model takes part too")
      ->type_name("FILE")
      ->check(CLI::ExistingFile);
  verb->add_flag("--peers{all}", options->peers,
                 "PyTorch in Python too (or =LIST: eager, channels_last, graph, compile)");
  verb->add_flag("--force", options->force, "Build engines again instead of taking them from the cache");
  verb->add_flag("--keep-batch-norm", options->model.keep_batch_norm, "Do not fold batch norm into the convolutions");
  options->load.add_to(verb);
  options->measure.add_to(verb);
  options->form.add_to(verb);
  verb->add_option("--report", options->report, "The result as one HTML page too")->type_name("FILE.html");
  verb->footer(
      "Examples:\n"
      "  ferry compare resnet101.pth\n"
      "  ferry compare resnet101.pth --precision fp32,fp16,int8 --calibration photos/ --images val/\n"
      "  ferry compare resnet101 --random-weights --batch 1,8 --json results.json\n"
      "Exit code 3: an engine's outputs disagree with the reference. 1: an engine could not run.");
}

}  // namespace ferry::tool
