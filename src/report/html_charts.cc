// Charts: shapes are inline SVG stretched to the width at hand, words stay HTML so that they are never scaled.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/html_parts.h"
#include "report/numbers.h"

namespace ferry::html {
namespace {

std::string svg(double height, const std::string& inside, const std::string& title) {
  return fmt::format(R"(<svg viewBox="0 0 100 {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>)",
                     height, title, inside);
}

// Counts between the smallest value and p99: the last hundredth would squeeze all the others.
std::vector<double> histogram(std::vector<double> values, double low, double high) {
  const std::size_t count = std::clamp<std::size_t>(static_cast<std::size_t>(2 * std::sqrt(values.size())), 8, 48);
  std::vector<double> bins(count, 0);
  for (const double value : values) {
    const double at = high > low ? (value - low) / (high - low) : 0;
    if (at < 0 || at > 1) continue;
    bins[std::min(static_cast<std::size_t>(at * static_cast<double>(count)), count - 1)] += 1;
  }
  return bins;
}

std::string area(const std::vector<double>& bins) {
  const double highest = *std::max_element(bins.begin(), bins.end());
  std::string path = "M0 40";
  for (std::size_t i = 0; i < bins.size(); ++i) {
    const double step = 100.0 / static_cast<double>(bins.size());
    const double y = 40 - (highest > 0 ? 38 * bins[i] / highest : 0);
    path += fmt::format("L{:.2f} {:.2f}L{:.2f} {:.2f}", step * static_cast<double>(i), y,
                        step * static_cast<double>(i + 1), y);
  }
  return fmt::format(R"(<path d="{}L100 40Z"/>)", path);
}

std::string distribution(const ComparisonRow& row, const std::string& role_name) {
  const Measurement& m = row.measurement;
  const Statistics& s = m.timed_statistics();
  if (m.samples_ms.empty() || !(s.p99 >= s.min)) return {};
  const double low = s.min, high = s.p99 > s.min ? s.p99 : s.min * 1.01;
  const double middle = 100 * (s.median - low) / (high - low);
  const std::string shapes = area(histogram(m.samples_ms, low, high)) +
                             fmt::format(R"(<line x1="{0:.2f}" x2="{0:.2f}" y1="0" y2="40"/>)", middle);
  return fmt::format(
      R"(<div class="bar dist {}"><span class="name">{}</span><span class="value">{} runs</span>{}<span class="under">)"
      R"(<span>min {} ms</span><span>median {} ms</span><span>p99 {} ms</span></span></div>)",
      role_name, label(row), m.runs, svg(40, shapes, "distribution of times of " + label(row)), milliseconds(low),
      milliseconds(s.median), milliseconds(s.p99));
}

// What stands under a bar; harmless HTML.
std::string remark(const ComparisonRow& row, const Rows& block) {
  if (!row.agreement.ok) return "wrong: " + escape(row.agreement.failure);
  if (!was_compared(row)) return "not compared with a reference";
  if (row.baseline) return "baseline";
  if (row.speedup > 0) return fmt::format("{:.2f} times the baseline", row.speedup);
  const bool has_baseline = std::any_of(block.begin(), block.end(), [](const ComparisonRow* r) { return r->baseline; });
  return has_baseline ? "not comparable with the baseline" : "no baseline was timed";
}

}  // namespace

std::string label(const ComparisonRow& row) {
  return escape(row.model.empty() ? row.engine + " " + row.precision
                                  : fmt::format("{}: {} {}", row.model, row.engine, row.precision));
}

std::string role(const ComparisonRow& row, const Rows& block) {
  if (!row.agreement.ok) return "wrong";
  if (row.baseline) return "base";
  for (const ComparisonRow* other : block)
    if (other->agreement.ok && other->measurement.images_per_second > row.measurement.images_per_second) return "";
  return "best";
}

std::string bars(const Rows& block) {
  double most = 0;
  for (const ComparisonRow* row : block) most = std::max(most, row->measurement.images_per_second);
  std::string text;
  for (const ComparisonRow* row : block) {
    const double value = row->measurement.images_per_second, width = most > 0 ? 100 * value / most : 0;
    text += fmt::format(
        R"(<div class="bar {}"><span class="name">{}</span><span class="value mark">{} images/s</span>{}<span class="under"><span>{}</span></span></div>)",
        role(*row, block), label(*row), rate(value),
        svg(10, fmt::format(R"(<rect width="{:.2f}" height="10"/>)", width), label(*row) + " " + rate(value)),
        remark(*row, block));
  }
  return text;
}

std::string distributions(const Rows& block) {
  std::string text;
  for (const ComparisonRow* row : block) text += distribution(*row, role(*row, block));
  return text;
}

bool was_compared(const ComparisonRow& row) { return !row.agreement.ok || std::isfinite(row.agreement.relative_error); }

// 1e-7 on the left, 1 on the right; the tolerance is a line.
std::string accuracy(const Comparison& comparison) {
  const auto at = [](double error) {
    return std::clamp(100 * (std::log10(std::max(error, 1e-7)) + 7) / 7, 0.5, 100.0);
  };
  std::string text;
  for (const Rows& block : blocks(comparison))
    for (const ComparisonRow* row : block) {
      const Agreement& a = row->agreement;
      if (row->baseline || !was_compared(*row)) continue;
      std::string shapes;
      if (std::isfinite(a.relative_error))
        shapes += fmt::format(R"(<rect width="{:.2f}" height="10"/>)", at(a.relative_error));
      const double tolerance = at(tolerance_for(row->precision).relative_error);
      shapes += fmt::format(R"(<line x1="{0:.2f}" x2="{0:.2f}" y1="0" y2="10"/>)", tolerance);
      text += fmt::format(R"(<div class="bar {}"><span class="name">{} <span class="key">batch {}</span></span>)"
                          R"(<span class="value mark">{}</span>{}<span class="under"><span>relative error {}</span>)"
                          R"(<span>cosine {:.6f}</span><span>top-1 {}</span><span>top-5 {}</span></span></div>)",
                          a.ok ? "" : "wrong", label(*row), row->measurement.batch, a.ok ? "agrees" : escape(a.failure),
                          svg(10, shapes, "relative error of " + label(*row)), small(a.relative_error), a.cosine,
                          share(a.top1_agreement), share(a.top5_overlap));
    }
  return text;
}

}  // namespace ferry::html
