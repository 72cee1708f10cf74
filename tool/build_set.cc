#include "build_set.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "cli.h"
#include "console.h"
#include "ferry/error.h"
#include "lineup.h"
#include "progress.h"
#include "text.h"

namespace ferry::tool {
namespace {

constexpr const char* kDefaultBatches = "1,2,4,8,32";

// Short: engines are told apart, not measured for a record.
MeasureOptions quick_measure() {
  MeasureOptions options;
  options.min_runs = 30;
  options.min_seconds = 0.5;
  options.max_seconds = 1;
  options.warmup_seconds = 0.2;
  return options;
}

std::string where_each_goes(const PlanSet& set) {
  std::string text;
  for (const PlanSet::Part& part : set.parts) {
    std::string batches;
    for (const BatchProfile& p : part.profiles)
      batches += fmt::format("{}{}", batches.empty() ? "" : ", ",
                             p.min == p.max ? std::to_string(p.max) : fmt::format("{} to {}", p.min, p.max));
    text += fmt::format("{}batch {}: {}", text.empty() ? "" : "; ", batches, part.engine);
  }
  return text;
}

Json outcome_json(const std::string& path, const PlanSetOutcome& outcome) {
  return {{"plan_set", path}, {"set", Json::parse(ferry::to_json(outcome.set))}, {"cautions", outcome.cautions}};
}

}  // namespace

bool names_set(const std::string& backend) { return backend == "auto" || backend.find(',') != std::string::npos; }

PlanSetRequest set_request(const SetOptions& options, BuildRequest build) {
  PlanSetRequest request;
  if (build.plan_path.empty())
    throw Error(Stage::kUsage, "--backend " + options.backends, "makes a plan set, which needs a place",
                "Say where it goes: -o net.plan");
  std::string batches = options.batches.empty() ? kDefaultBatches : options.batches;
  std::replace(batches.begin(), batches.end(), ':', ',');
  request.batches = parse_batches("--batch", batches);
  std::error_code error;
  if (std::filesystem::equivalent(build.plan_path, options.model.model, error))
    throw Error(Stage::kUsage, build.plan_path, "is the model itself", "Give the plan set another name.");
  if (options.backends != "auto") request.backends = parse_list("--backend", options.backends);
  known_engines(request.backends);  // refuses a name that is none
  request.build = std::move(build);
  request.measure = quick_measure();
  return request;
}

std::string set_title(const PlanSet& set) {
  return fmt::format("plan set, {} plan{}", set.parts.size(), set.parts.size() == 1 ? "" : "s");
}

std::string measured_table(const PlanSet& set) {
  std::vector<std::vector<std::string>> rows = {{"batch", "engine", "median ms", "p99 ms", ""}};
  for (const PlanSet::Measured& m : set.measured)
    rows.push_back({std::to_string(m.batch), printable(m.engine), fmt::format("{:.3f}", m.median_ms),
                    fmt::format("{:.3f}", m.p99_ms), m.chosen ? "<- chosen" : ""});
  return table(rows, "rlrrl");
}

Rows set_rows(const PlanSet& set) {
  Rows rows = {{"goes to", printable(where_each_goes(set))}};
  if (!set.measured.empty())
    rows.emplace_back("measured", printable(set.measured.front().timed) + ", engines in turns");
  for (const std::string& line : set.left_out) rows.emplace_back("left out", printable(line));
  return rows;
}

int build_plan_set_of(Model& model, PlanSetRequest request, const Context& context) {
  request.build.origin = model.origin();
  request.build.network = network_on_demand(model);
  PlanSetOutcome outcome;
  {
    Job job(context, fmt::format("building and measuring engines of {}", model.stem()));
    request.build.progress = job.progress();
    outcome = build_plan_set(request);
  }
  const std::string& path = request.build.plan_path;
  context.emit(outcome_json(path, outcome));
  for (const std::string& caution : outcome.cautions) context.warn(caution);
  context.print(fmt::format("{}: {}\n\n", console().out_style(Style::kBold, path), set_title(outcome.set)));
  context.print(measured_table(outcome.set) + "\n");
  Rows rows = set_rows(outcome.set);
  for (const std::string& note : model.notes()) rows.emplace_back("adapted", note);
  rows.emplace_back("next",
                    fmt::format("ferry bench {} --batch {}", shell_quoted(path), fmt::join(outcome.set.batches, ",")));
  context.print(key_values(rows));
  return kGood;
}

}  // namespace ferry::tool
