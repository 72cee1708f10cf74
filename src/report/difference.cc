// Two runs held against each other: what changed beyond the noise.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "ferry/report.h"
#include "report/numbers.h"
#include "report/text.h"

namespace ferry {
namespace {

constexpr double kLeastNoise = 0.02;  // below this two runs on one machine are not told apart

std::string name_of_row(const ComparisonRow& row) {
  const Measurement& m = row.measurement;
  return fmt::format("{}{} {} batch {} {}", row.model.empty() ? "" : row.model + " in ", row.engine, row.precision,
                     m.batch, m.mode);
}

// The row of that name in `others`; of several (two models in one bench) the one that stands in the same place.
const ComparisonRow* partner_of(const ComparisonRow& row, const std::vector<ComparisonRow>& rows,
                                const std::vector<ComparisonRow>& others) {
  const std::string name = name_of_row(row);
  std::ptrdiff_t place = std::count_if(rows.data(), &row, [&](const auto& r) { return name_of_row(r) == name; });
  for (const ComparisonRow& other : others)
    if (name_of_row(other) == name && place-- == 0) return &other;
  return nullptr;
}

double spread(const Measurement& m) {
  if (m.round_medians_ms.size() < 2) return 0;
  const auto [low, high] = std::minmax_element(m.round_medians_ms.begin(), m.round_medians_ms.end());
  return *low > 0 ? *high / *low - 1 : 0;
}

ReportChange change_of(const ComparisonRow& before, const ComparisonRow& after) {
  const Measurement &a = before.measurement, &b = after.measurement;
  ReportChange change;
  change.engine = before.model.empty() ? before.engine : before.model + " in " + before.engine;
  change.precision = before.precision;
  change.mode = a.mode;
  change.batch = a.batch;
  const bool alike = a.timed == b.timed;  // else the one thing that both have
  change.before_ms = alike ? a.timed_statistics().median : a.wall.median;
  change.after_ms = alike ? b.timed_statistics().median : b.wall.median;
  change.change = change.after_ms / change.before_ms - 1;
  change.noise = std::max(kLeastNoise, std::hypot(spread(a), spread(b)));
  change.beyond_noise = !(std::abs(change.change) <= change.noise);
  change.agreement_lost = before.agreement.ok && !after.agreement.ok;
  return change;
}

std::string machine_text(const Comparison& c) {
  const auto json = nlohmann::json::parse(c.machine_json, nullptr, false);
  if (!json.is_object()) return "?";
  std::string text = json.contains("cpu") && json["cpu"].is_object() ? json["cpu"].value("model", "?") : "?";
  if (json.contains("gpus") && json["gpus"].is_array())
    for (const auto& gpu : json["gpus"])
      text += fmt::format(", {} (driver {})", gpu.value("name", "?"), gpu.value("driver", "?"));
  return text;
}

void note_if_other(ReportDifference& d, const char* what, const std::string& before, const std::string& after) {
  if (before != after) d.notes.push_back(fmt::format("Another {}: {} before, {} after.", what, before, after));
}

}  // namespace

ReportDifference difference(const Comparison& before, const Comparison& after) {
  ReportDifference d;
  note_if_other(d, "machine", machine_text(before), machine_text(after));
  note_if_other(d, "network", before.network, after.network);
  note_if_other(d, "source of weights", before.origin, after.origin);
  for (const ComparisonRow& row : before.rows) {
    const ComparisonRow* partner = partner_of(row, before.rows, after.rows);
    if (row.failure.empty() && partner != nullptr && partner->failure.empty()) {
      d.changes.push_back(change_of(row, *partner));
    } else if (row.failure.empty()) {
      if (partner != nullptr)
        d.stopped.push_back(name_of_row(row) + ": " + partner->failure);
      else
        d.only_before.push_back(name_of_row(row));
    }
  }
  for (const ComparisonRow& row : after.rows) {
    const ComparisonRow* partner = partner_of(row, after.rows, before.rows);
    if (row.failure.empty() && (partner == nullptr || !partner->failure.empty()))
      d.only_after.push_back(name_of_row(row));
  }
  return d;
}

bool got_worse(const ReportDifference& d) {
  const auto worse = [](const ReportChange& c) { return c.agreement_lost || (c.beyond_noise && !(c.change < 0)); };
  return !d.stopped.empty() || std::any_of(d.changes.begin(), d.changes.end(), worse);
}

std::string to_table(const ReportDifference& d, bool color) {
  constexpr std::size_t kWidth = 100, kEngine = 34;
  std::string text = left("engine", kEngine) + "  prec  " + right("batch", 5) + "  " + right("before ms", 9) + "  " +
                     right("after ms", 9) + "  " + right("change", 8) + "  " + right("noise", 7) + "  \n";
  for (const ReportChange& c : d.changes) {
    const char* verdict = c.agreement_lost ? "WRONG" : !c.beyond_noise ? "" : c.change > 0 ? "slower" : "faster";
    const Style style = c.agreement_lost || (c.beyond_noise && !(c.change < 0)) ? Style::kBad
                        : c.beyond_noise                                        ? Style::kGood
                                                                                : Style::kPlain;
    const std::string line = left(c.engine, kEngine) + "  " + left(c.precision, 4) + "  " +
                             right(std::to_string(c.batch), 5) + "  " + right(milliseconds(c.before_ms), 9) + "  " +
                             right(milliseconds(c.after_ms), 9) + "  " +
                             right(fmt::format("{:+.1f} %", 100 * c.change), 8) + "  " +
                             right(fmt::format("{:.1f} %", 100 * c.noise), 7) + "  " + left(verdict, 6);
    text += styled(line, style, color) + "\n";
  }
  const auto add = [&](const std::string& prefix, const std::vector<std::string>& lines) {
    for (const std::string& line : lines)
      for (const std::string& part : wrap(prefix + line, kWidth)) text += part + "\n";
  };
  add("does not run any more: ", d.stopped);
  add("only before: ", d.only_before);
  add("only after: ", d.only_after);
  add("- ", d.notes);
  return text;
}

}  // namespace ferry
