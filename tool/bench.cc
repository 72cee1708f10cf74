// ferry bench MODEL...: how fast engines are, without comparing outputs.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "cli.h"
#include "console.h"
#include "contestant.h"
#include "ferry/ferry.h"
#include "ferry/report.h"
#include "form_flags.h"
#include "layers_text.h"
#include "load_match.h"
#include "match.h"
#include "measure_options.h"
#include "open_model.h"
#include "progress.h"
#include "text.h"

namespace ferry::tool {
namespace {

struct BenchFlags {
  std::vector<std::string> models;
  ModelOptions shared;  // --arch, --random-weights
  OpenFlags open;
  std::string batches;
  LoadFlags load;
  bool layers = false;
  MeasureFlags measure;
  FormFlags form;
  std::string report;
};

struct Bench {
  Contestants contestants;
  std::vector<std::string> names;  // of the models, in the same order
  bool random = false;
  std::optional<GraphForm> pixels;  // of the first that takes uint8
};

Bench open_models(const BenchFlags& options, const std::vector<std::int64_t>& batches, const Context& context) {
  Bench bench;
  for (const std::string& name : options.models) {
    ModelOptions one = options.shared;
    one.model = name;
    one.form = options.form.resolved();
    Model model(one, context);
    OpenedModel opened = open_model(model, options.open, batches, context);
    auto contestant = std::make_unique<EngineContestant>(std::move(opened.engine), opened.precision, model.form());
    if (contestant->takes_pixels() && !bench.pixels) bench.pixels = model.form();
    contestant->row.model = model.stem();
    bench.names.push_back(model.stem());
    bench.contestants.push_back(std::move(contestant));
    bench.random = bench.random || model.random();
  }
  return bench;
}

Shape input_shape(const Bench& bench, std::int64_t batch) {
  Shape shape = static_cast<const EngineContestant&>(*bench.contestants.front()).input_shape();
  for (std::size_t i = 1; i < shape.size(); ++i)
    if (shape[i] < 0) shape[i] = i == 1 ? 3 : 224;
  shape[0] = batch;
  return shape;
}

std::string cell(double ms) { return std::isfinite(ms) ? fmt::format("{:.3f}", ms) : "-"; }

// "latency", or "throughput x2": so many sessions.
std::string mode_cell(const Measurement& m) {
  return m.mode == "latency" ? m.mode : fmt::format("{} x{}", m.mode, m.sessions);
}

std::vector<std::string> table_row(const ComparisonRow& row) {
  const std::string& model = row.model;
  const Measurement& m = row.measurement;
  if (!row.failure.empty()) return {model, row.engine, row.precision, std::to_string(m.batch), m.mode, "failed"};
  const Statistics& timed = m.timed_statistics();
  return {model,
          row.engine,
          row.precision,
          std::to_string(m.batch),
          mode_cell(m),
          cell(timed.median),
          cell(timed.p99),
          cell(m.wall.median),
          fmt::format("{:.1f}", m.images_per_second),
          std::to_string(m.runs)};
}

// As `compare --json`, without what was not compared.
std::string without_agreement(const std::string& text) {
  Json json = Json::parse(text);
  for (Json& row : json["results"])
    for (const char* key : {"ok", "relative_error", "cosine", "max_abs_error", "top1_agreement", "top5_overlap",
                            "images_compared", "disagreement", "baseline", "speedup"})
      row.erase(key);
  json.erase("summary");
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

// What the times are, each kind once.
std::string timed_lines(const Comparison& comparison) {
  std::string lines;
  for (const ComparisonRow& row : comparison.rows) {
    const Measurement& m = row.measurement;
    const std::string line = fmt::format("  {}, timed: {}{}\n", m.mode, m.timed,
                                         m.device ? "; host ms: host array in to host array out" : "");
    if (row.failure.empty() && lines.find(line) == std::string::npos) lines += line;
  }
  return lines;
}

// What each engine takes of its device, where it takes any of its own.
std::string memory_lines(const Bench& bench) {
  std::string lines;
  for (std::size_t i = 0; i < bench.contestants.size(); ++i) {
    const EngineInfo& info = bench.contestants[i]->engine()->info();
    if (info.device_memory_bytes <= 0) continue;
    const auto size = [](std::int64_t bytes) { return human_bytes(static_cast<double>(bytes)); };
    std::string line = fmt::format("{}, {}: about {} of device memory with one session", bench.names[i],
                                   info.backend_display_name, size(info.device_memory_bytes));
    if (const auto& streaming = info.weight_streaming)
      line += fmt::format("; {} of {} of weights stay there", size(streaming->budget), size(streaming->streamable));
    lines += "  " + wrapped(line, 96, 4) + "\n";
  }
  return lines;
}

int show(const Comparison& comparison, const Bench& bench, const std::string& page, const Context& context) {
  std::vector<std::vector<std::string>> rows = {
      {"model", "engine", "type", "batch", "mode", "median ms", "p99 ms", "host ms", "images/s", "runs"}};
  std::string remarks;
  bool failed = false;
  for (const ComparisonRow& row : comparison.rows) {
    rows.push_back(table_row(row));
    failed = failed || !row.failure.empty();
    const std::string who = fmt::format("{} {} batch {}: ", row.engine, row.precision, row.measurement.batch);
    if (!row.failure.empty()) remarks += wrapped("! " + who + printable(row.failure), 98, 2) + "\n";
    for (const std::string& warning : row.measurement.warnings) remarks += wrapped("! " + who + warning, 98, 2) + "\n";
  }
  if (!context.json.empty()) context.emit_text(without_agreement(to_json(comparison)));
  if (!page.empty()) write_file(page, to_html(comparison), Stage::kReport);
  if (bench.random) context.print("RANDOM WEIGHTS: speed is real, answers mean nothing\n");
  context.print(table(rows, "lllrlrrrrr"));
  context.print("\n" + timed_lines(comparison) + memory_lines(bench));
  for (const std::string& note : comparison.notes) context.print(wrapped("- " + note, 98, 2) + "\n");
  context.print(remarks);
  for (std::size_t i = 0; i < comparison.rows.size(); ++i) {
    const ComparisonRow& row = comparison.rows[i];
    if (!row.layers) continue;
    context.print(fmt::format("\n{} {} batch {}\n", row.engine, row.precision, row.measurement.batch));
    context.print(layers_table(*row.layers));
  }
  return failed ? kFailed : kGood;
}

void add_layers(ComparisonRow& row, Contestant& contestant) {
  try {
    row.layers = contestant.layers();
  } catch (const Error& error) {
    row.measurement.warnings.push_back("layers could not be timed: " + failure_text(error));
  }
}

void say_who_has_no_layers(Comparison& comparison) {
  for (const ComparisonRow& row : comparison.rows) {
    const std::string note = row.engine + " does not tell the time of its layers";
    const bool said = std::find(comparison.notes.begin(), comparison.notes.end(), note) != comparison.notes.end();
    if (row.failure.empty() && row.measurement.mode == "latency" && !row.layers && !said)
      comparison.notes.push_back(note);
  }
}

int bench(const BenchFlags& options, const Context& context) {
  const std::vector<std::int64_t> batches = parse_batches("--batch", options.batches);
  const std::vector<std::string> modes = options.load.mode_list();
  options.load.session_count();  // refuses wrong usage before anything is opened
  if (options.layers && std::find(modes.begin(), modes.end(), "latency") == modes.end())
    throw Error(Stage::kUsage, "--layers", "layers are timed in the mode latency only", "Add it: --mode latency,...");
  const Bench opened = open_models(options, batches, context);
  Comparison comparison;
  comparison.network = opened.names.front();
  comparison.origin = options.models.front();
  comparison.random_weights = opened.random;
  comparison.machine_json = machine_json(Backend::list());
  comparison.command = context.command;
  comparison.started_at = timestamp();
  const MeasureOptions how = options.measure.resolved(opened.contestants.front()->row.device_kind);
  comparison.inputs = opened.pixels ? "random pixels, seed 1" : "standard normal, seed 1";
  for (const std::int64_t batch : batches) {
    const Tensor input = test_pictures(input_shape(opened, batch), 1, opened.pixels ? &*opened.pixels : nullptr);
    for (const std::string& mode : modes) {
      Job job(context, fmt::format("measuring batch {}", batch));
      auto rows = play_mode(mode, options.load, opened.contestants, nullptr, input.view(), how, job.progress(),
                            comparison.notes);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        ComparisonRow& row = rows[i];
        if (row.failure.empty() && !row.agreement.ok) row.failure = row.agreement.failure;  // NaN: not a result
        if (options.layers && mode == "latency" && row.failure.empty()) add_layers(row, *opened.contestants[i]);
        comparison.rows.push_back(std::move(row));
      }
    }
  }
  if (options.layers) say_who_has_no_layers(comparison);
  return show(comparison, opened, options.report, context);
}

}  // namespace

void add_bench(Cli& cli) {
  auto options = std::make_shared<BenchFlags>();
  CLI::App* verb = cli.add_verb("bench", "Time engines, taking turns in one run",
                                [options](const Context& context) { return bench(*options, context); });
  verb->add_option("MODEL", options->models, "plans, ONNX files, checkpoints or names of networks")->required();
  verb->add_flag("--random-weights{1}", options->shared.random,
                 "Seeded weights instead of trained ones (or =SEED); needs a name");
  options->batches = "1,8";
  verb->add_option("--batch", options->batches, "Batch sizes")->type_name("LIST")->capture_default_str();
  options->load.add_to(verb);
  verb->add_flag("--layers", options->layers, "The time of each layer too, where the engine tells");
  options->open.add_to(verb);
  options->measure.add_to(verb);
  options->form.add_to(verb);
  verb->add_option("--report", options->report, "The result as one HTML page too")->type_name("FILE.html");
}

}  // namespace ferry::tool
