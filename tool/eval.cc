// ferry eval MODEL... --images DIR: accuracy of engines on pictures, and how far they are from a reference.
#include <fmt/core.h>

#include <memory>

#include "cli.h"
#include "console.h"
#include "ferry/evaluate.h"
#include "ferry/ferry.h"
#include "model.h"
#include "open_model.h"
#include "pictures.h"
#include "progress.h"

namespace ferry::tool {
namespace {

struct EvalFlags {
  std::vector<std::string> models;
  std::string reference, images, labels;
  OpenFlags open;
  PictureFlags pictures;
};

Model model_of(const std::string& file, const Context& context) {
  ModelOptions which;
  which.model = file;
  return Model(which, context);
}

EvaluationEntry opened_entry(const std::string& file, const EvalFlags& options, const Context& context) {
  Model model = model_of(file, context);
  // A plan has its own precision and engine: beside other models the flags are for those, alone they are a mistake.
  const bool alone = options.models.size() == 1 && options.reference.empty();
  const OpenFlags flags = model.kind() == ModelKind::kPlan && !alone ? OpenFlags{} : options.open;
  const OpenedModel opened = open_model(model, flags, {options.pictures.batch}, context);
  GraphForm pixels = model.form();
  const Preprocessing preset = options.pictures.loader(facts_of(model)).preprocessing;
  pixels.mean.assign(preset.mean.begin(), preset.mean.end());
  pixels.std.assign(preset.std.begin(), preset.std.end());
  return entry_of(fmt::format("{} {} {}", model.stem(), opened.precision, opened.engine.info().backend), opened.engine,
                  pixels);
}

Json result_json(const Evaluation& evaluation, const Context& context) {
  Json json = Json::parse(to_json(evaluation));
  json["command"] = context.command;
  return json;
}

void show(const Evaluation& evaluation, const std::string& reference, const Context& context) {
  context.emit(result_json(evaluation, context));
  context.print(fmt::format("{} pictures ({}), preprocessing {}\n\n", evaluation.images, evaluation.layout,
                            evaluation.preprocessing));
  context.print(to_table(evaluation));
  if (!reference.empty())
    context.print(fmt::format(
        "\nagreement (same best class), KL (nats) and error (relative L2 of logits) are against {}\n", reference));
}

int evaluate_models(const EvalFlags& options, const Context& context) {
  const ImageSet set = find_set(options.images, options.labels);
  if (!set.labelled && options.reference.empty() && options.models.size() < 2)
    throw Error(Stage::kUsage, options.images, "has no labels, so there is nothing to compare one model with",
                "Give --labels FILE (lines `file,class number`), or --reference MODEL.");
  std::vector<std::string> files = options.models;
  if (!options.reference.empty()) files.insert(files.begin(), options.reference);
  for (const std::string& file : files)  // before time goes into building the others
    if (model_of(file, context).form().top_k > 0) refuse_top_k(file);
  std::vector<EvaluationEntry> entries;
  entries.reserve(files.size());
  for (const std::string& file : files) entries.push_back(opened_entry(file, options, context));

  EvaluateOptions how;
  how.loader = options.pictures.loader(facts_of(model_of(files.front(), context)));
  if (files.size() > 1) how.reference = 0;
  Evaluation evaluation;
  {
    Job job(context, fmt::format("evaluating on {} pictures", set.items.size()));
    how.progress = job.progress();
    evaluation = evaluate(entries, set, how);
  }
  show(evaluation, how.reference ? entries[0].name : "", context);
  bool failed = report_broken(evaluation.broken, context);
  for (const EvaluationRow& row : evaluation.rows) failed |= !row.failure.empty();
  return failed ? kFailed : kGood;
}

}  // namespace

void add_eval(Cli& cli) {
  auto options = std::make_shared<EvalFlags>();
  CLI::App* verb = cli.add_verb("eval", "Top-1, top-5 and agreement of models on a folder of pictures",
                                [options](const Context& context) { return evaluate_models(*options, context); });
  verb->add_option("MODEL", options->models, "Plans, ONNX files, checkpoints or names of networks")->required();
  verb->add_option("--images", options->images, "Folder of pictures; class folders give labels")
      ->type_name("DIR")
      ->required();
  verb->add_option("--labels", options->labels, "Lines `file,class number` (default: DIR/labels.csv, if it is there)")
      ->type_name("FILE");
  verb->add_option("--reference", options->reference,
                   "What agreement, KL and error are against (default: the first of several)")
      ->type_name("MODEL");
  options->pictures.add_to(verb);
  options->open.add_to(verb);
}

}  // namespace ferry::tool
