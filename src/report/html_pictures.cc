// What each engine made of real pictures: top-1 against labels, agreement with the reference.
#include <fmt/format.h>

#include <cmath>
#include <set>

#include "report/html_parts.h"
#include "report/numbers.h"

namespace ferry::html {
namespace {

std::string percent_or_dash(double value) {
  return std::isfinite(value) ? fmt::format("{:.2f} %", 100 * value) : std::string("–");
}

std::string picture_row(const ComparisonRow& row) {
  const PictureAccuracy& a = *row.accuracy;
  if (!a.failure.empty())
    return fmt::format(R"(<tr class="wrong"><td>{}</td><td colspan="6">{}</td></tr>)", label(row), escape(a.failure));
  const auto number = [](double value) { return std::isfinite(value) ? small(value) : std::string("–"); };
  return fmt::format(
      R"(<tr class="{}"><td>{}</td><td>{}</td><td class="mark">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>)",
      row.baseline ? "base" : "", label(row), a.images, percent_or_dash(a.top1), percent_or_dash(a.top5),
      percent_or_dash(a.agreement), number(a.kl), number(a.relative_error));
}

}  // namespace

std::string pictures(const Comparison& comparison) {
  std::string rows;
  std::set<std::string> shown;  // batch sizes do not matter here
  for (const ComparisonRow& row : comparison.rows)
    if (row.accuracy && shown.insert(label(row)).second) rows += picture_row(row);
  if (rows.empty()) return {};
  return R"(<h2>On the pictures</h2><section class="card"><div class="scroll"><table><tr><th>engine</th><th>pictures</th>)"
         R"(<th>top-1</th><th>top-5</th><th>agrees</th><th>KL, nats</th><th>relative error</th></tr>)" +
         rows +
         R"(</table></div><p class="key">Top-1 and top-5 against the labels; the rest against the baseline: the same best )"
         R"(class, Kullback-Leibler divergence of the probabilities, L2 error of the scores.</p></section>)";
}

}  // namespace ferry::html
