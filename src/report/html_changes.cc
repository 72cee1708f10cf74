// What changed since an earlier run, as a part of the page.
#include <fmt/format.h>

#include "report/html_parts.h"
#include "report/numbers.h"

namespace ferry::html {
namespace {

std::string sentence(const ReportDifference& d) {
  int slower = 0, faster = 0, lost = static_cast<int>(d.stopped.size());
  for (const ReportChange& c : d.changes) {
    lost += c.agreement_lost ? 1 : 0;
    if (c.beyond_noise && !c.agreement_lost) ++(c.change < 0 ? faster : slower);
  }
  if (slower + faster + lost == 0) return "Nothing changed beyond the noise of the two runs.";
  std::string text =
      fmt::format("Of {} rows, {} got faster and {} slower beyond noise", d.changes.size(), faster, slower);
  return text + (lost > 0 ? fmt::format("; {} do not agree or not run any more.", lost) : ".");
}

std::string row_html(const ReportChange& c) {
  const bool worse = c.agreement_lost || (c.beyond_noise && !(c.change < 0));
  const char* verdict = c.agreement_lost  ? "wrong now"
                        : !c.beyond_noise ? "within noise"
                        : c.change < 0    ? "faster"
                                          : "slower";
  return fmt::format(
      R"(<tr class="{}"><td>{} {}{}</td><td>{}</td><td>{}</td><td>{}</td><td class="mark">{:+.1f} %</td><td>{:.1f} %</td><td>{}</td></tr>)",
      worse            ? "wrong"
      : c.beyond_noise ? "best"
                       : "",
      escape(c.engine), escape(c.precision), c.mode == "latency" ? "" : ", " + escape(c.mode), c.batch,
      milliseconds(c.before_ms), milliseconds(c.after_ms), 100 * c.change, 100 * c.noise, verdict);
}

void add(std::string& text, const char* prefix, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) text += "<li>" + escape(prefix + line) + "</li>";
}

}  // namespace

std::string changes(const ReportDifference& d, const Comparison& before) {
  std::string text =
      fmt::format(R"(<h2>Since {}</h2><section class="card"><p>{}</p>)",
                  escape(before.started_at.empty() ? "the earlier run" : before.started_at), sentence(d));
  if (!d.changes.empty()) {
    text +=
        "<div class=\"scroll\"><table><tr><th>engine</th><th>batch</th><th>before ms</th><th>after "
        "ms</th><th>change</th>"
        "<th>noise</th><th></th></tr>";
    for (const ReportChange& c : d.changes) text += row_html(c);
    text += "</table></div>";
  }
  std::string more;
  add(more, "Does not run any more: ", d.stopped);
  add(more, "Only before: ", d.only_before);
  add(more, "Only now: ", d.only_after);
  add(more, "", d.notes);
  if (!more.empty()) text += "<ul>" + more + "</ul>";
  return text + "<p class=\"key\">Noise: how far the rounds of both runs lie apart, and at least 2 %.</p></section>";
}

}  // namespace ferry::html
