// The comparison as text for a terminal: one block a batch size, at most 100 columns.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ferry/compare.h"
#include "report/numbers.h"
#include "report/text.h"

namespace ferry {
namespace {

constexpr std::size_t kWidth = 100;

struct Columns {
  std::size_t engine = 34;
  bool host = false;      // a column for host to host, where the timed value is something else
  bool accuracy = false;  // columns for what pictures said, instead of p99 and the best class of the timed inputs
};
constexpr std::size_t kPrecision = 4, kMedian = 9, kP99 = 8, kHost = 8, kRate = 8, kSpeed = 8, kError = 9, kTop1 = 6,
                      kAgree = 7;

// One line: what stands in each column, those that are not shown included.
struct Line {
  std::string engine, precision, median, p99, host, rate, speed, error, top1, agree, picture_top1;
};

std::string join(const Columns& columns, const Line& line) {
  std::string text = left(line.engine, columns.engine) + "  " + left(line.precision, kPrecision);
  const auto add = [&](const std::string& cell, std::size_t width) { text += "  " + right(cell, width); };
  add(line.median, kMedian);
  if (!columns.accuracy) add(line.p99, kP99);
  if (columns.host) add(line.host, kHost);
  add(line.rate, kRate);
  add(line.speed, kSpeed);
  add(line.error, kError);
  if (columns.accuracy) add(line.agree, kAgree);
  add(columns.accuracy ? line.picture_top1 : line.top1, columns.accuracy ? kAgree : kTop1);
  return text;
}

std::string head(const Columns& columns, std::int64_t batch, const std::string& mode) {
  const std::string title =
      mode == "latency" ? fmt::format("batch {}", batch) : fmt::format("batch {}, {}", batch, mode);
  return join(columns, {title, "", "median ms", "p99 ms", "host ms", "images/s", "speed-up", "rel. err.", "top-1",
                        "agree", "top-1"});
}

std::string speed_cell(const ComparisonRow& row) {
  if (row.baseline && row.speedup > 0) return "baseline";
  return row.speedup > 0 ? fmt::format("{:.2f}x", row.speedup) : "-";
}

std::string share_or_dash(double value) { return std::isfinite(value) ? share(value) : "-"; }
std::string percent(double value) { return std::isfinite(value) ? fmt::format("{:.2f}%", 100 * value) : "-"; }

std::string numbers(const Columns& columns, const ComparisonRow& row) {
  const Measurement& m = row.measurement;
  const Statistics& timed = m.timed_statistics();
  const Agreement& a = row.agreement;
  Line line{row.engine,
            row.precision,
            milliseconds(timed.median),
            milliseconds(timed.p99),
            milliseconds(m.wall.median),
            rate(m.images_per_second),
            speed_cell(row),
            row.baseline ? "reference" : small(a.relative_error),
            share_or_dash(a.top1_agreement),
            "-",
            "-"};
  if (row.accuracy && row.accuracy->failure.empty()) {
    line.agree = percent(row.accuracy->agreement);
    line.picture_top1 = percent(row.accuracy->top1);
  }
  return join(columns, line);
}

void append_wrapped(std::string& text, const std::string& first, const std::string& rest, const std::string& message,
                    Style style, bool color) {
  std::string indent = first;
  const std::size_t width = kWidth - std::max(display_width(first), display_width(rest));
  for (const std::string& line : wrap(message, width)) {
    text += styled(indent + line, style, color) + "\n";
    indent = rest;
  }
}

void append_row(std::string& text, const Columns& columns, const ComparisonRow& row, bool fastest, bool color) {
  if (!row.failure.empty()) {
    const std::string name = left(row.engine, columns.engine) + "  " + left(row.precision, kPrecision) + "  ";
    append_wrapped(text, name, std::string(4, ' '), "not run: " + row.failure, Style::kBad, color);
    return;
  }
  const Style style = !row.agreement.ok ? Style::kBad : fastest ? Style::kGood : Style::kPlain;
  text += styled(numbers(columns, row), style, color) + "\n";
  if (!row.agreement.ok) append_wrapped(text, "    WRONG: ", "           ", row.agreement.failure, Style::kBad, color);
  if (row.accuracy && !row.accuracy->failure.empty())
    append_wrapped(text, "    pictures: ", "      ", row.accuracy->failure, Style::kBad, color);
}

bool same_block(const ComparisonRow& a, const ComparisonRow& b) {
  return a.measurement.batch == b.measurement.batch && a.measurement.mode == b.measurement.mode;
}

void append_block(std::string& text, const Columns& columns, const std::vector<const ComparisonRow*>& rows,
                  bool color) {
  const ComparisonRow* fastest = nullptr;
  for (const ComparisonRow* row : rows)
    if (row->failure.empty() && row->agreement.ok &&
        (!fastest || row->measurement.images_per_second > fastest->measurement.images_per_second))
      fastest = row;
  const Measurement& m = rows.front()->measurement;
  text += fmt::format("\n{}\n", styled(head(columns, m.batch, m.mode), Style::kBold, color));
  for (const ComparisonRow* row : rows) append_row(text, columns, *row, row == fastest, color);
}

std::string title(const Comparison& c) {
  std::string text = c.network + " from " + c.origin;
  if (c.random_weights) text += " (RANDOM WEIGHTS: speed is real, answers mean nothing)";
  if (!c.inputs.empty()) text += "; inputs: " + c.inputs;
  return text;
}

// What the times mean and where each engine ran: each thing once.
std::vector<std::string> legend(const Comparison& c) {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& line) {
    if (std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(line);
  };
  for (const ComparisonRow& row : c.rows) {
    if (!row.failure.empty()) continue;
    const std::string version = row.sdk_version.empty() ? "" : " " + row.sdk_version;
    add(fmt::format("{}{} on {}; timed: {}", row.engine, version, row.device.empty() ? row.device_kind : row.device,
                    row.measurement.timed));
  }
  return lines;
}

void append_notes(std::string& text, const Comparison& c, bool color) {
  text += "\n";
  for (const std::string& line : legend(c)) append_wrapped(text, "  ", "    ", line, Style::kDim, color);
  for (const ComparisonRow& row : c.rows)
    for (const std::string& warning : row.measurement.warnings)
      append_wrapped(text, "! ", "  ",
                     fmt::format("{} {} batch {}: {}", row.engine, row.precision, row.measurement.batch, warning),
                     Style::kWarning, color);
  for (const std::string& note : c.notes) append_wrapped(text, "- ", "  ", note, Style::kPlain, color);
}

}  // namespace

std::string to_table(const Comparison& comparison, bool color) {
  Columns columns;
  columns.host = std::any_of(comparison.rows.begin(), comparison.rows.end(),
                             [](const ComparisonRow& row) { return row.measurement.device.has_value(); });
  columns.accuracy = std::any_of(comparison.rows.begin(), comparison.rows.end(),
                                 [](const ComparisonRow& row) { return row.accuracy.has_value(); });
  if (columns.host) columns.engine -= kHost + 2;
  std::string text;
  append_wrapped(text, "", "  ", title(comparison), Style::kBold, color);
  std::vector<const ComparisonRow*> left_over;
  for (const ComparisonRow& row : comparison.rows) left_over.push_back(&row);
  while (!left_over.empty()) {
    std::vector<const ComparisonRow*> block, others;
    for (const ComparisonRow* row : left_over) (same_block(*row, *left_over.front()) ? block : others).push_back(row);
    append_block(text, columns, block, color);
    left_over = std::move(others);
  }
  append_notes(text, comparison, color);
  const std::string classic = classic_line(comparison);
  if (!classic.empty()) {
    text += "\n";
    append_wrapped(text, "", "  ", classic, Style::kBold, color);
  }
  return text;
}

}  // namespace ferry
