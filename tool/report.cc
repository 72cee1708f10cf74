// ferry report RESULTS.json [LATER.json]: stored results as a page, or two runs held against each other.
#include "ferry/report.h"

#include <fmt/core.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "cli.h"
#include "console.h"
#include "ferry/compare.h"
#include "ferry/error.h"
#include "ferry/files.h"
#include "text.h"

namespace ferry::tool {
namespace {

struct ReportFlags {
  std::string results, later, output;
};

Comparison read_results(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf()))
    throw Error(Stage::kReport, path, "cannot be read", "Write one with `ferry compare ... --json results.json`.");
  return comparison_from_json(text.str(), path);
}

Json to_json(const ReportDifference& difference) {
  Json changes = Json::array();
  for (const ReportChange& c : difference.changes)
    changes.push_back({{"engine", c.engine},
                       {"precision", c.precision},
                       {"batch", c.batch},
                       {"mode", c.mode},
                       {"before_ms", c.before_ms},
                       {"after_ms", c.after_ms},
                       {"change", c.change},
                       {"noise", c.noise},
                       {"beyond_noise", c.beyond_noise},
                       {"agreement_lost", c.agreement_lost}});
  return {{"format", "ferry difference"},        {"version", 1},
          {"worse", got_worse(difference)},      {"changes", changes},
          {"stopped", difference.stopped},       {"only_before", difference.only_before},
          {"only_after", difference.only_after}, {"notes", difference.notes}};
}

void write_page(const std::string& path, const std::string& page, const Context& context) {
  if (path.empty()) return;
  write_file(path, page, Stage::kReport);
  context.print(fmt::format("\n  page: {}\n", path));
}

void refuse_overwriting(const ReportFlags& options) {
  std::error_code error;
  for (const std::string& input : {options.results, options.later})
    if (!input.empty() && std::filesystem::equivalent(input, options.output, error))
      throw Error(Stage::kUsage, options.output, "holds the results themselves", "Give the page another name.");
}

int report(const ReportFlags& options, const Context& context) {
  refuse_overwriting(options);
  const Comparison first = read_results(options.results);
  if (options.later.empty()) {
    context.emit_text(ferry::to_json(first));
    context.print(to_table(first, console().color_out()));
    write_page(options.output, to_html(first), context);
    return kGood;
  }
  const Comparison second = read_results(options.later);
  const ReportDifference changes = difference(first, second);
  context.emit(to_json(changes));
  context.print(fmt::format("before: {}\nafter:  {}\n\n", printable(options.results), printable(options.later)));
  context.print(to_table(changes, console().color_out()));
  write_page(options.output, to_html(second, &first), context);
  return got_worse(changes) ? kDisagreement : kGood;
}

}  // namespace

void add_report(Cli& cli) {
  auto options = std::make_shared<ReportFlags>();
  CLI::App* verb = cli.add_verb("report", "Stored results as one HTML page; two runs held against each other",
                                [options](const Context& context) { return report(*options, context); });
  verb->add_option("RESULTS", options->results, "what compare or bench wrote with --json FILE")->required();
  verb->add_option("LATER", options->later, "results of a later run: what changed beyond noise");
  verb->add_option("-o,--output", options->output, "The page: one file, needs no network")->type_name("FILE.html");
  verb->footer(
      "Examples:\n"
      "  ferry report results.json -o results.html\n"
      "  ferry report before.json after.json\n"
      "Exit code 3: after is slower than before beyond noise, or does not agree or run any more.");
}

}  // namespace ferry::tool
