// The report as one page: answer first, then the numbers, then how they were taken.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "ferry/report.h"
#include "report/html_parts.h"
#include "report/numbers.h"

namespace ferry {
namespace html {

std::string escape(std::string_view text) {
  // nlohmann-json replaces what is not UTF-8; the quotes that it puts round the text go again.
  const std::string clean = nlohmann::json::parse(
      nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  std::string result;
  for (const char c : clean) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::vector<Rows> blocks(const Comparison& comparison) {
  std::vector<Rows> result;
  for (const ComparisonRow& row : comparison.rows) {
    if (!row.failure.empty()) continue;
    const auto same = std::find_if(result.begin(), result.end(), [&](const Rows& rows) {
      return rows[0]->measurement.batch == row.measurement.batch && rows[0]->measurement.mode == row.measurement.mode;
    });
    if (same == result.end()) {
      result.push_back({&row});
    } else {
      same->push_back(&row);
    }
  }
  return result;
}

std::string numbers_table(const Rows& block) {
  std::string text =
      "<div class=\"scroll\"><table><tr><th>engine</th><th>median ms</th><th>p90</th><th>p99</th><th>host ms</th>"
      "<th>images/s</th><th>speed-up</th><th>timed</th></tr>";
  for (const ComparisonRow* row : block) {
    const Measurement& m = row->measurement;
    const Statistics& s = m.timed_statistics();
    const std::string speed = row->baseline ? "baseline" : row->speedup > 0 ? fmt::format("{:.2f}", row->speedup) : "–";
    text += fmt::format(
        R"(<tr class="{}"><td>{}</td><td class="mark">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>)",
        role(*row, block), label(*row), milliseconds(s.median), milliseconds(s.p90), milliseconds(s.p99),
        milliseconds(m.wall.median), rate(m.images_per_second), speed, escape(m.timed));
  }
  return text + "</table></div>";
}

}  // namespace html

namespace {

using html::escape;

const ComparisonRow* fastest(const Comparison& c, bool by_speedup) {
  const ComparisonRow* best = nullptr;
  const auto value = [&](const ComparisonRow& row) {
    return by_speedup ? row.speedup : row.measurement.images_per_second;
  };
  for (const ComparisonRow& row : c.rows)
    if (row.failure.empty() && row.agreement.ok && (!by_speedup || (!row.baseline && row.speedup > 0)) &&
        (best == nullptr || value(row) > value(*best)))
      best = &row;
  return best;
}

// The fastest against the next fastest, where the first rows (the smallest batch) leave no baseline.
std::string answer_without_baseline(const Comparison& c) {
  const std::vector<html::Rows> all = html::blocks(c);
  if (all.empty()) return {};
  std::vector<const ComparisonRow*> good;
  for (const ComparisonRow* row : all.front())
    if (row->agreement.ok && row->measurement.timed == all.front()[0]->measurement.timed) good.push_back(row);
  if (good.size() < 2) return {};
  std::stable_sort(good.begin(), good.end(), [](const auto* a, const auto* b) {
    return a->measurement.images_per_second > b->measurement.images_per_second;
  });
  const ComparisonRow &first = *good[0], &second = *good[1];
  return fmt::format("{} in {} runs {} {:.2f} times faster than {} in {}, the next fastest, at batch {}", first.engine,
                     first.precision, first.model.empty() ? c.network : first.model,
                     first.measurement.images_per_second / second.measurement.images_per_second,
                     second.model.empty() ? second.engine : second.model + " with " + second.engine, second.precision,
                     first.measurement.batch);
}

std::string answer(const Comparison& c) {
  if (const ComparisonRow* row = fastest(c, true)) {
    const auto base = std::find_if(c.rows.begin(), c.rows.end(), [&](const ComparisonRow& other) {
      return other.baseline && other.measurement.batch == row->measurement.batch;
    });
    const bool faster = row->speedup >= 1;
    return fmt::format("{} in {} runs {} {:.2f} times {} than {} in {} at batch {}, and agrees with it", row->engine,
                       row->precision, c.network, faster ? row->speedup : 1 / row->speedup,
                       faster ? "faster" : "slower", base == c.rows.end() ? "the reference" : base->engine,
                       base == c.rows.end() ? "fp32" : base->precision, row->measurement.batch);
  }
  if (const std::string text = answer_without_baseline(c); !text.empty()) return text;
  if (const ComparisonRow* row = fastest(c, false))
    return fmt::format("{}: {} in {} does {} images a second", c.network, row->engine, row->precision,
                       rate(row->measurement.images_per_second));
  return c.network + ": no engine ran and agreed with the reference";
}

std::string lead(const Comparison& c) {
  std::string text = classic_line(c);
  if (const ComparisonRow* row = fastest(c, false))
    text += fmt::format("{}Most images a second: {} with {} in {} at batch {}", text.empty() ? "" : ". ",
                        rate(row->measurement.images_per_second), row->engine, row->precision, row->measurement.batch);
  return text.empty() ? text : text + ".";
}

std::string list(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "<li>" + escape(line) + "</li>";
  return text.empty() ? text : "<ul>" + text + "</ul>";
}

std::vector<std::string> warnings(const Comparison& c) {
  std::vector<std::string> lines;
  for (const ComparisonRow& row : c.rows) {
    if (!row.failure.empty())
      lines.push_back(fmt::format("{} {} did not run: {}", row.engine, row.precision, row.failure));
    for (const std::string& warning : row.measurement.warnings)
      lines.push_back(fmt::format("{} {} batch {}: {}", row.engine, row.precision, row.measurement.batch, warning));
  }
  return lines;
}

void entry(std::string& text, const std::string& name, const std::string& value) {
  if (!value.empty()) text += "<dt>" + escape(name) + "</dt><dd>" + escape(value) + "</dd>";
}

std::string string_of(const nlohmann::json& json, const char* key) {
  const auto it = json.is_object() ? json.find(key) : json.end();
  return json.is_object() && it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::string machine(const Comparison& c) {
  const auto json = nlohmann::json::parse(c.machine_json, nullptr, false);
  std::string text = "<dl>";
  if (json.is_object()) {
    if (json.contains("gpus") && json["gpus"].is_array())
      for (const auto& gpu : json["gpus"])
        entry(text, "GPU",
              fmt::format("{}, compute capability {}, driver {}", string_of(gpu, "name"),
                          string_of(gpu, "compute_capability"), string_of(gpu, "driver")));
    if (json.contains("cpu")) entry(text, "CPU", string_of(json["cpu"], "model"));
    entry(text, "System", string_of(json, "os"));
    entry(text, "Kernel", string_of(json, "kernel"));
    entry(text, "ferry", string_of(json, "ferry"));
  }
  std::vector<std::string> engines;
  for (const ComparisonRow& row : c.rows) {
    const std::string line = row.engine + " " + row.sdk_version + " on " + row.device;
    if (!row.failure.empty() || std::count(engines.begin(), engines.end(), line) > 0) continue;
    engines.push_back(line);
    entry(text, "Engine", line);
  }
  entry(text, "Weights", c.origin);
  entry(text, "Inputs", c.inputs);
  entry(text, "Started", c.started_at);
  return text + (c.command.empty() ? "" : "<dt>Command</dt><dd><code>" + escape(c.command) + "</code></dd>") + "</dl>";
}

const char* const kMethod =
    "<p>Every engine got the same inputs. Each was warmed up until its times were steady, then all took turns in "
    "rounds, so "
    "that drift of clocks and temperature hits all alike. <b>Device compute</b> is the network only, with inputs and "
    "outputs "
    "on the GPU; <b>host in to host out</b> is the wall time of one request with its copies. A speed-up is median over "
    "median of the same kind. Outputs were compared in the same run: NaN and Inf fail first, then shape and type, then "
    "the "
    "relative L2 error against the tolerance of the precision (the line in the accuracy panel).</p>";

std::string block_html(const html::Rows& block) {
  const Measurement& m = block[0]->measurement;
  const std::string mode = m.mode == "latency" ? "" : ", " + m.mode;
  return fmt::format(
      R"(<h2>Batch {}{}</h2><div class="pair"><section class="card"><h3>Images a second</h3>{}</section>)"
      R"(<section class="card"><h3>Distribution of times</h3>{}<p class="key">Each on its own scale, from its fastest run to its p99; the line is the median.</p></section></div>)"
      R"(<section class="card">{}</section>)",
      m.batch, escape(mode), html::bars(block), html::distributions(block), html::numbers_table(block));
}

}  // namespace

std::string to_html(const Comparison& c, const Comparison* before) {
  std::string text = fmt::format(
      R"(<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{0}</title><style>{1}</style></head><body><main><p class="over">ferry report: {2}</p><h1>{0}</h1><p class="lead">{3}</p>)",
      escape(answer(c)), html::kStyle, escape(c.network + " from " + c.origin), escape(lead(c)));
  if (c.random_weights) text += R"(<p class="alert">Random weights: speed is real, answers mean nothing.</p>)";
  if (before != nullptr) text += html::changes(difference(*before, c), *before);
  for (const html::Rows& block : html::blocks(c)) text += block_html(block);
  if (const std::string panel = html::accuracy(c); !panel.empty())
    text +=
        R"(<h2>Accuracy against the reference</h2><section class="card"><div class="columns">)" + panel + "</div>" +
        R"(<p class="key">Relative L2 error from 1e-7 to 1 on a logarithmic scale; the line is the tolerance.</p></section>)";
  text += html::pictures(c);
  text += html::layers(c);
  const std::string warned = list(warnings(c)), noted = list(c.notes);
  if (!warned.empty()) text += R"(<h2>Warnings</h2><section class="card">)" + warned + "</section>";
  if (!noted.empty()) text += R"(<h2>Notes</h2><section class="card">)" + noted + "</section>";
  text += std::string(R"(<h2>How it was measured</h2><section class="card">)") + kMethod + "</section>";
  text += R"(<h2>On what</h2><section class="card">)" + machine(c) + "</section></main></body></html>\n";
  return text;
}

}  // namespace ferry
