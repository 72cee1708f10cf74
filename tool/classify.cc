// ferry classify MODEL INPUTS...: photographs in, labels out.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "classify_output.h"
#include "classify_report.h"
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

struct ClassifyFlags {
  ModelOptions model;
  OpenFlags open;
  PreprocessingFlags preprocessing;
  ClassifierOptions classifier;
  std::vector<std::string> inputs;
  std::string labels, format, output, report;
  std::vector<std::string> against;
  std::size_t shown = 500;  // photographs of the report
};

struct Opened {
  Classifier classifier;
  std::string precision, class_names_from;
};

ClassifierOptions settled(const ClassifyFlags& options, const Model& model, std::string& names_from) {
  PictureFacts facts = facts_of(model);
  ClassifierOptions result = options.classifier;
  result.preprocessing = options.preprocessing.settle(facts);
  names_from = !options.labels.empty() ? options.labels : !facts.class_names.empty() ? "the model" : "ImageNet";
  result.class_names = options.labels.empty() ? std::move(facts.class_names) : read_class_names(options.labels);
  return result;
}

std::string engine_name(const Opened& opened) {
  return opened.classifier.engine().info().backend_display_name + " " + opened.precision;
}

Opened open(const ClassifyFlags& options, const OpenFlags& flags, Model& model, const Context& context) {
  std::string names_from;
  ClassifierOptions classifier = settled(options, model, names_from);
  if (!options.report.empty()) classifier.thumbnail = 224;
  std::vector<std::int64_t> batches{1, 8, 64};
  if (classifier.batch > 0) batches = {1, classifier.batch};
  OpenedModel opened = open_model(model, flags, batches, context);
  Classifier made(std::move(opened.engine), classifier);
  if (made.class_names().empty()) names_from = "none";
  return {std::move(made), opened.precision, names_from};
}

// A stream may be long: what is written is not kept.
class Run {
 public:
  Run(const ClassifyFlags& options, const Context& context)
      : context_(context),
        output_(classify_format(options.format, options.output), options.output, context),
        gathers_(!options.report.empty() || !options.against.empty()),
        gathering_(!options.report.empty(), options.shown) {}

  /// The run that is written.
  ClassifyReport first(const Opened& opened, PictureSource& pictures) {
    gathering_.begin_engine(engine_name(opened));
    ClassifyReport report =
        over(opened.classifier, pictures, "classifying", [this](Classified&& r) { take(std::move(r)); });
    output_.finish();
    return report;
  }
  /// One that is held against it.
  void another(const Opened& opened, PictureSource& pictures) {
    gathering_.begin_engine(engine_name(opened));
    over(opened.classifier, pictures, "holding against it", [this](Classified&& r) { gathering_.add(std::move(r)); });
  }

  Json results() { return std::move(results_); }
  Gathering& gathering() noexcept { return gathering_; }

 private:
  ClassifyReport over(const Classifier& classifier, PictureSource& pictures, const std::string& what,
                      const std::function<void(Classified&&)>& each) {
    const std::int64_t total = pictures.total();
    Job job(context_, total > 0 ? fmt::format("{} {} pictures", what, human_count(total)) : what, "pictures");
    const Progress progress = job.progress();
    std::int64_t seen = 0;
    const auto consume = [&](Classified&& result) {
      each(std::move(result));
      progress("", ++seen, total);
      return true;
    };
    return classifier.classify_all(pictures, consume, interrupted);
  }

  void take(Classified&& result) {
    if (!result.error.empty())
      console().err_line(fmt::format("{}{}: {}", console().err_style(Style::kYellow, "not classified: "),
                                     printable(result.name), printable(result.error)));
    output_.add(result);
    if (!context_.json.empty()) results_.push_back(tool::to_json(result));
    if (gathers_) gathering_.add(std::move(result));
  }

  const Context& context_;
  ClassifyOutput output_;
  Json results_ = Json::array();
  bool gathers_;
  Gathering gathering_;
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

// A file is another model; anything else an engine for the same one.
Opened open_other(const std::string& what, const ClassifyFlags& options, const Context& context) {
  ModelOptions model_options = options.model;
  OpenFlags flags = options.open;
  std::error_code error;
  if (std::filesystem::exists(what, error)) {
    model_options = {};
    model_options.model = what;
    flags = {};
  } else {
    flags.backend = what;
  }
  Model model(model_options, context);
  return open(options, flags, model, context);
}

void write_report(const ClassifyFlags& options, const Opened& opened, Model& model, Run& run) {
  ContactSheet& sheet = run.gathering().sheet();
  sheet.title = fmt::format("{}: {} photographs", model.random() ? "RANDOM WEIGHTS" : model.stem(),
                            human_count(static_cast<std::int64_t>(sheet.photographs.size() + sheet.left_out)));
  sheet.facts = {{"model", model.origin()}, {"first engine", described(opened)}, {"when", timestamp()}};
  write_file(options.report, to_html(sheet), Stage::kReport);
}

void check_usage(const ClassifyFlags& options) {
  if (!options.against.empty() && std::count(options.inputs.begin(), options.inputs.end(), "-") > 0)
    throw Error(Stage::kUsage, "--against", "standard input can be read only once",
                "Name the pictures, or a list of them.");
}

int classify(const ClassifyFlags& options, const Context& context) {
  check_usage(options);
  const std::unique_ptr<PictureSource> pictures = open_pictures(options.inputs);
  Model model(options.model, context);
  Run run(options, context);
  const Opened opened = open(options, options.open, model, context);
  if (model.random()) context.warn("random weights (" + model.origin() + "): the labels mean nothing");
  std::vector<Opened> others;  // opened before anything runs: what is wrong with one is said at once
  for (const std::string& what : options.against) others.push_back(open_other(what, options, context));
  context.note(described(opened));
  const ClassifyReport report = run.first(opened, *pictures);
  for (const Opened& other : others)
    if (!interrupted()) run.another(other, *open_pictures(options.inputs));
  if (!options.report.empty()) write_report(options, opened, model, run);
  Json json = as_json(opened, report, run.results());
  if (!options.against.empty()) json["agreement"] = run.gathering().agreement();
  context.emit(json);
  context.note(summary(report));
  if (!options.against.empty()) context.note(run.gathering().agreement_text());
  if (interrupted()) return kInterruptedExit;
  return report.broken > 0 ? kFailed : kGood;
}

void add_options(CLI::App* verb, ClassifyFlags& options) {
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
  verb->add_option("--report", options.report, "A contact sheet as one HTML page: photographs and labels")
      ->type_name("FILE");
  verb->add_option("--report-pictures", options.shown, "Photographs on it (default: 500)")->type_name("N");
  verb->add_option("--against", options.against,
                   "Another model's file or another engine's name: where does it disagree?")
      ->type_name("WHAT")
      ->allow_extra_args(false);
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
  auto options = std::make_shared<ClassifyFlags>();
  CLI::App* verb = cli.add_verb("classify", "Photographs in, labels out",
                                [options](const Context& context) { return classify(*options, context); });
  add_model_options(verb, options->model, "plan, ONNX file, checkpoint, or the name of a network");
  add_options(verb, *options);
}

}  // namespace ferry::tool
