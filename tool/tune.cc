// ferry tune MODEL: which batch and how many sessions serve best, by trying them.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "cli.h"
#include "console.h"
#include "contestant.h"
#include "ferry/ferry.h"
#include "ferry/report.h"
#include "load_match.h"
#include "open_model.h"
#include "progress.h"
#include "text.h"

namespace ferry::tool {
namespace {

struct TuneFlags {
  ModelOptions model;
  OpenFlags open;
  std::string batches, sessions, kind;
  std::optional<double> max_latency;
  double seconds = 0.5, within = 120;
};

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// What has been tried and what there is: the sweep ends in time, with the points that it has by then.
struct Sweep {
  const TuneFlags& options;
  const Progress& progress;
  std::int64_t all;
  Clock::time_point begin = Clock::now();
  std::int64_t tried = 0;
  std::vector<OperatingPoint> points{};
  std::vector<std::string> notes{};

  bool out_of_time() const { return !points.empty() && seconds_since(begin) >= options.within; }
};

LoadKind load_kind(const TuneFlags& options) {
  for (const LoadKind kind : {LoadKind::kThroughput, LoadKind::kEndToEnd})
    if (options.kind == name_of(kind)) return kind;
  throw Error(Stage::kUsage, "--mode", fmt::format("'{}' is not throughput or end-to-end", options.kind), "");
}

Shape shape_at(const Engine& engine, std::int64_t batch) {
  Shape shape = engine.info().inputs.at(0).shape;
  for (std::size_t i = 1; i < shape.size(); ++i)
    if (shape[i] < 0) shape[i] = i == 1 ? 3 : 224;
  shape.at(0) = batch;
  return shape;
}

// Normal values, or random pixels for an engine that takes these.
Tensor test_input(const Engine& engine, std::int64_t batch) {
  Tensor normal = Tensor::random_normal(shape_at(engine, batch), 1);
  if (engine.info().inputs.at(0).dtype != DType::kUInt8) return normal;
  Tensor pixels(DType::kUInt8, normal.shape());
  for (std::size_t i = 0; i < pixels.size_bytes(); ++i)
    pixels.data()[i] = static_cast<std::byte>(std::clamp(128 + 64 * normal.floats()[i], 0.0f, 255.0f));
  return pixels;
}

std::string best_so_far(const std::vector<OperatingPoint>& points) {
  const auto less = [](const auto& a, const auto& b) { return a.images_per_second < b.images_per_second; };
  const auto best = std::max_element(points.begin(), points.end(), less);
  return best == points.end() ? ""
                              : fmt::format("; best {:.0f} images/s at batch {} x{}", best->images_per_second,
                                            best->batch, best->sessions);
}

// Every number of sessions at one batch. Too many of them end the row (memory), not the sweep.
void sweep_batch(const Engine& engine, std::int64_t batch, const std::vector<std::int64_t>& sessions, Sweep& sweep) {
  const TuneFlags& options = sweep.options;
  const Tensor input = test_input(engine, batch);
  Load load(engine, input.view(), load_kind(options));
  for (const std::int64_t count : sessions) {
    if (sweep.out_of_time()) return;
    const std::string phase = fmt::format("batch {}, {} sessions (point {} of {}{})", batch, count, sweep.tried + 1,
                                          sweep.all, best_so_far(sweep.points));
    if (sweep.progress && !sweep.progress(phase, sweep.tried++, sweep.all))
      throw Error(Stage::kInterrupted, "", "stopped on request; nothing was written");
    try {
      load.set_sessions(static_cast<int>(count));
      load.turn(options.seconds / 4, 2);
      sweep.points.push_back(operating_point(load.turn(options.seconds, 5), batch));
    } catch (const Error& error) {
      if (error.stage() == Stage::kInterrupted) throw;
      sweep.notes.push_back(fmt::format("Batch {} with {} sessions failed: {}", batch, count, failure_text(error)));
      return;
    }
  }
}

// 1, 2, 4, ... as far as the plan takes them, and its largest.
std::vector<std::int64_t> doubling(const EngineInfo& info) {
  const std::int64_t most = info.max_batch.value_or(32);
  const auto taken = [&](std::int64_t batch) {
    return info.profiles.empty() || std::any_of(info.profiles.begin(), info.profiles.end(), [&](const BatchProfile& p) {
             return p.min <= batch && batch <= p.max;
           });
  };
  std::vector<std::int64_t> batches;
  for (std::int64_t batch = 1; batch < most; batch *= 2)
    if (taken(batch)) batches.push_back(batch);
  batches.push_back(most);
  return batches;
}

Json point_json(const OperatingPoint& point) {
  return {{"batch", point.batch},         {"sessions", point.sessions}, {"images_per_second", point.images_per_second},
          {"median_ms", point.median_ms}, {"p99_ms", point.p99_ms},     {"on_frontier", point.on_frontier}};
}

std::string reason(const TuneFlags& options) {
  return options.max_latency ? fmt::format("the highest rate with p99 within {:g} ms", *options.max_latency)
                             : "the shortest p99 within 2 % of the highest rate";
}

void show(const OpenedModel& opened, const std::vector<OperatingPoint>& points, std::size_t chosen,
          const std::vector<std::string>& notes, const TuneFlags& options, const Context& context) {
  std::vector<std::vector<std::string>> rows = {{"batch", "sessions", "images/s", "median ms", "p99 ms", ""}};
  for (std::size_t i = 0; i < points.size(); ++i) {
    const OperatingPoint& p = points[i];
    rows.push_back({std::to_string(p.batch), std::to_string(p.sessions), fmt::format("{:.1f}", p.images_per_second),
                    fmt::format("{:.3f}", p.median_ms), fmt::format("{:.3f}", p.p99_ms),
                    i == chosen     ? "<- chosen"
                    : p.on_frontier ? "frontier"
                                    : ""});
  }
  const OperatingPoint& best = points[chosen];
  context.print(fmt::format("{} {}, {}: requests back to back\n\n", opened.engine.info().backend_display_name,
                            opened.precision, options.kind));
  context.print(table(rows, "rrrrrl"));
  context.print(fmt::format("\n  batch {}, {} sessions: {:.0f} images/s, p99 {:.3f} ms\n  ({})\n", best.batch,
                            best.sessions, best.images_per_second, best.p99_ms, reason(options)));
  for (const std::string& note : notes) context.print(wrapped("! " + note, 98, 2) + "\n");
  std::string next = "ferry bench " + shell_quoted(options.model.model);
  if (!options.model.random.empty()) next += " --random-weights=" + options.model.random;
  if (!options.open.backend.empty()) next += " --backend " + options.open.backend;
  if (!options.open.precision.empty()) next += " --precision " + options.open.precision;
  next += fmt::format(" --mode {} --batch {} --sessions {}", options.kind, best.batch, best.sessions);
  context.print(key_values({{"next", next}}));
}

std::pair<std::vector<OperatingPoint>, std::vector<std::string>> sweep_all(const Engine& engine,
                                                                           const std::vector<std::int64_t>& batches,
                                                                           const std::vector<std::int64_t>& sessions,
                                                                           const TuneFlags& options,
                                                                           const Context& context) {
  Job job(context, "trying batches and sessions");
  const Progress progress = job.progress();
  Sweep sweep{options, progress, static_cast<std::int64_t>(batches.size() * sessions.size())};
  for (const std::int64_t batch : batches)
    if (!sweep.out_of_time()) sweep_batch(engine, batch, sessions, sweep);
  if (sweep.tried < sweep.all && sweep.out_of_time())
    sweep.notes.push_back(
        fmt::format("Stopped after {:.0f} s with {} of {} points: --within allows more, a shorter "
                    "--batch or --sessions needs less",
                    seconds_since(sweep.begin), sweep.tried, sweep.all));
  return {std::move(sweep.points), std::move(sweep.notes)};
}

int tune(const TuneFlags& options, const Context& context) {
  std::vector<std::int64_t> batches =
      options.batches.empty() ? std::vector<std::int64_t>{1, 8, 32} : parse_batches("--batch", options.batches);
  const auto sessions = parse_batches("--sessions", options.sessions);
  load_kind(options);
  Model model(options.model, context);
  const OpenedModel opened = open_model(model, options.open, batches, context);
  if (options.batches.empty() && model.kind() == ModelKind::kPlan) batches = doubling(opened.engine.info());
  auto [points, notes] = sweep_all(opened.engine, batches, sessions, options, context);
  if (points.empty()) throw Error(Stage::kMeasure, options.model.model, "nothing could be measured: " + notes.at(0));
  mark_frontier(points);
  const std::size_t chosen = choose_point(points, options.max_latency);
  Json json{{"format", "ferry tune"},
            {"version", 1},
            {"model", model.name()},
            {"origin", model.origin()},
            {"engine", opened.engine.info().backend_display_name},
            {"precision", opened.precision},
            {"device", opened.engine.info().device.name},
            {"mode", options.kind},
            {"started_at", timestamp()},
            {"points", Json::array()}};
  for (const OperatingPoint& point : points) json["points"].push_back(point_json(point));
  json["chosen"] = point_json(points[chosen]);
  json["why"] = reason(options);
  json["notes"] = notes;
  context.emit(json);
  show(opened, points, chosen, notes, options, context);
  return kGood;
}

}  // namespace

void add_tune(Cli& cli) {
  auto options = std::make_shared<TuneFlags>();
  CLI::App* verb = cli.add_verb("tune", "Find the batch size and number of sessions that serve best",
                                [options](const Context& context) { return tune(*options, context); });
  add_model_options(verb, options->model, "plan, ONNX file, checkpoint, or the name of a network");
  options->sessions = "1,2,3";
  options->kind = name_of(LoadKind::kThroughput);
  verb->add_option("--batch", options->batches, "Batch sizes to try (default: 1,8,32; of a plan, powers of two)")
      ->type_name("LIST");
  verb->add_option("--sessions", options->sessions, "Numbers of sessions to try")
      ->type_name("LIST")
      ->capture_default_str();
  verb->add_option("--mode", options->kind, "throughput or end-to-end")->type_name("NAME")->capture_default_str();
  verb->add_option("--max-latency", options->max_latency, "Choose the highest rate whose p99 stays within this")
      ->type_name("MS")
      ->check(CLI::PositiveNumber);
  verb->add_option("--seconds", options->seconds, "For each point")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  verb->add_option("--within", options->within, "Stop after so many seconds, with the points measured by then")
      ->check(CLI::Range(0.01, 86400.0))
      ->capture_default_str();
  options->open.add_to(verb);
  verb->footer("Example: ferry tune resnet101.plan --batch 1,8,32,128 --max-latency 5");
}

}  // namespace ferry::tool
