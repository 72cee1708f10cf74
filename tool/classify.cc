// ferry classify MODEL INPUTS...: photographs in, labels out.
#include <fmt/core.h>

#include <memory>

#include "classify_output.h"
#include "cli.h"
#include "console.h"
#include "ferry/ferry.h"
#include "model.h"
#include "open_model.h"
#include "preprocessing_options.h"
#include "progress.h"
#include "signals.h"
#include "text.h"

namespace ferry::tool {
namespace {

struct Options {
  ModelOptions model;
  OpenFlags open;
  PreprocessingFlags preprocessing;
  ClassifierOptions classifier;
  std::vector<std::string> inputs;
  std::string labels, format, output;
};

struct Opened {
  Classifier classifier;
  std::string precision, class_names_from;
};

ClassifierOptions settled(const Options& options, const Model& model, std::string& names_from) {
  PictureFacts facts = facts_of(model);
  ClassifierOptions result = options.classifier;
  result.preprocessing = options.preprocessing.settle(facts);
  names_from = !options.labels.empty() ? options.labels : !facts.class_names.empty() ? "the model" : "ImageNet";
  result.class_names = options.labels.empty() ? std::move(facts.class_names) : read_class_names(options.labels);
  return result;
}

Opened open(const Options& options, Model& model, const Context& context) {
  std::string names_from;
  const ClassifierOptions classifier = settled(options, model, names_from);
  std::vector<std::int64_t> batches{1, 8, 64};
  if (classifier.batch > 0) batches = {1, classifier.batch};
  OpenedModel opened = open_model(model, options.open, batches, context);
  Classifier made(std::move(opened.engine), classifier);
  if (made.class_names().empty()) names_from = "none";
  return {std::move(made), opened.precision, names_from};
}

// One file may be named twice and a stream may be long: what counts is counted, not collected.
class Run {
 public:
  Run(const Options& options, const Context& context)
      : context_(context), output_(classify_format(options.format, options.output), options.output, context) {}

  ClassifyReport over(const Classifier& classifier, PictureSource& pictures) {
    const std::int64_t total = pictures.total();
    Job job(context_, total > 0 ? fmt::format("classifying {} pictures", human_count(total)) : "classifying",
            "pictures");
    const Progress progress = job.progress();
    std::int64_t seen = 0;
    const auto consume = [&](Classified&& result) {
      take(result);
      progress("", ++seen, total);
      return true;
    };
    ClassifyReport report = classifier.classify_all(pictures, consume, interrupted);
    output_.finish();
    return report;
  }

  Json results() { return std::move(results_); }

 private:
  void take(const Classified& result) {
    if (!result.error.empty())
      console().err_line(fmt::format("{}{}: {}", console().err_style(Style::kYellow, "not classified: "),
                                     printable(result.name), printable(result.error)));
    output_.add(result);
    if (!context_.json.empty()) results_.push_back(tool::to_json(result));
  }

  const Context& context_;
  ClassifyOutput output_;
  Json results_ = Json::array();
};

std::string described(const Opened& opened) {
  const Classifier& c = opened.classifier;
  return fmt::format("{} in {}; pictures: {} (resize {}, crop {}); class names: {}",
                     c.engine().info().backend_display_name, opened.precision, c.preprocessing().name,
                     c.preprocessing().resize, c.preprocessing().crop, opened.class_names_from);
}

std::string summary(const ClassifyReport& report) {
  const double rate = report.seconds > 0 ? static_cast<double>(report.classified) / report.seconds : 0;
  std::string text = fmt::format("{} classified", human_count(static_cast<std::int64_t>(report.classified)));
  if (report.broken > 0) text += fmt::format(", {} not", human_count(static_cast<std::int64_t>(report.broken)));
  text += fmt::format(", {}, {:.1f} images/s in batches of {}", human_seconds(report.seconds), rate, report.batch);
  return report.interrupted ? text + "; stopped before the end" : text;
}

Json as_json(const Opened& opened, const ClassifyReport& report, Json results) {
  const Preprocessing& p = opened.classifier.preprocessing();
  return {
      {"engine", opened.classifier.engine().info().backend},
      {"precision", opened.precision},
      {"preprocessing", {{"name", p.name}, {"resize", p.resize}, {"crop", p.crop}, {"mean", p.mean}, {"std", p.std}}},
      {"class_names", opened.class_names_from},
      {"classified", report.classified},
      {"broken", report.broken},
      {"interrupted", report.interrupted},
      {"seconds", report.seconds},
      {"batch", report.batch},
      {"results", std::move(results)}};
}

int classify(const Options& options, const Context& context) {
  const std::unique_ptr<PictureSource> pictures = open_pictures(options.inputs);
  Model model(options.model, context);
  Run run(options, context);
  const Opened opened = open(options, model, context);
  if (model.random()) context.warn("random weights (" + model.origin() + "): the labels mean nothing");
  context.note(described(opened));
  const ClassifyReport report = run.over(opened.classifier, *pictures);
  context.emit(as_json(opened, report, run.results()));
  context.note(summary(report));
  if (report.interrupted) return kInterruptedExit;
  return report.broken > 0 ? kFailed : kGood;
}

void add_options(CLI::App* verb, Options& options) {
  verb->add_option("INPUTS", options.inputs,
                   "Pictures, folders, tar archives, globs, @LIST (one path a line), - (standard input)")
      ->required();
  verb->add_option("-k,--top-k", options.classifier.top_k, "Labels a picture (default: 5)")
      ->type_name("K")
      ->check(CLI::Range(1, 1000));
  verb->add_option("--labels", options.labels, "Class names, one a line (default: the model's, else ImageNet's)")
      ->type_name("FILE");
  verb->add_option("--format", options.format, "table, csv or jsonl (default: by the ending of --output, else table)")
      ->type_name("NAME");
  verb->add_option("-o,--output", options.output, "Where the labels go (default: stdout)")->type_name("FILE");
  options.preprocessing.add_to(verb);
  verb->add_flag("--exif", options.classifier.decode.exif_orientation,
                 "Turn pictures as their EXIF orientation says (torchvision does not)");
  verb->add_option("--max-pixels", options.classifier.decode.max_pixels,
                   "Refuse larger pictures (default: 178956970, Pillow's limit)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 32));
  verb->add_option("--batch", options.classifier.batch, "Pictures that run together (default: chosen for the engine)")
      ->type_name("N")
      ->check(CLI::Range(1, 65536));
  verb->add_option("--decode-threads", options.classifier.threads, "Threads that decode (default: one a processor)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  options.open.add_to(verb);
}

}  // namespace

void add_classify(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = cli.add_verb("classify", "Photographs in, labels out",
                                [options](const Context& context) { return classify(*options, context); });
  add_model_options(verb, options->model, "plan, ONNX file, checkpoint, or the name of a network");
  add_options(verb, *options);
}

}  // namespace ferry::tool
