#include "ferry/contact_sheet.h"

#include <fmt/format.h>

#include <algorithm>

#include "report/html_parts.h"

namespace ferry {
namespace {

using html::escape;
using Photograph = ContactSheet::Photograph;

const char* const kSheetStyle = R"css(
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,250px),1fr));gap:12px}
.photo{background:var(--card);border:1px solid var(--line);border-radius:10px;overflow:hidden;min-width:0}
.photo.differs{border-color:var(--wrong)}
.photo img{display:block;width:100%;aspect-ratio:1;object-fit:cover;background:var(--track)}
.photo .none{aspect-ratio:1;background:var(--track)}
.photo figcaption,.photo .said{padding:6px 12px;overflow-wrap:anywhere;font-size:.85rem}
.photo figcaption{font-weight:600;padding-top:10px} .photo .said{padding-bottom:10px} figure{margin:0}
.guess{position:relative;padding:1px 6px;margin:2px 0;display:flex;justify-content:space-between;gap:8px;isolation:isolate}
.guess i{position:absolute;inset:0 auto 0 0;background:var(--plain);opacity:.28;border-radius:3px;z-index:-1}
.guess b{font-weight:400;font-variant-numeric:tabular-nums}
.other{margin-top:8px;color:var(--soft)} .differs .other.no{color:var(--wrong);font-weight:600}
)css";

std::string base64(const std::string& bytes) {
  static const char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) text += i + k > bytes.size() ? '=' : kDigits[group >> (18 - 6 * k) & 63];
  }
  return text;
}

bool same_best(const std::vector<Label>& a, const std::vector<Label>& b) {
  return !a.empty() && !b.empty() && a.front().index == b.front().index;
}

bool differs(const Photograph& photograph) {
  const auto& labels = photograph.labels;
  if (!photograph.error.empty()) return false;  // of a broken one nobody said anything
  return std::any_of(labels.begin() + (labels.empty() ? 0 : 1), labels.end(),
                     [&](const std::vector<Label>& other) { return !same_best(labels.front(), other); });
}

std::string bars(const std::vector<Label>& labels) {
  std::string text;
  for (const Label& label : labels)
    text += fmt::format(R"(<div class="guess"><i style="width:{:.2f}%"></i><span>{}</span><b>{:.1f} %</b></div>)",
                        100.0 * std::clamp(label.score, 0.0f, 1.0f), escape(label.name), 100.0 * label.score);
  return text;
}

std::string others(const ContactSheet& sheet, const Photograph& photograph) {
  std::string text;
  for (std::size_t e = 1; e < photograph.labels.size() && e < sheet.engines.size(); ++e) {
    const std::vector<Label>& said = photograph.labels[e];
    const bool same = same_best(photograph.labels.front(), said);
    const std::string what = said.empty() ? "gave nothing"
                             : same       ? fmt::format("the same, {:.1f} %", 100.0 * said.front().score)
                                          : fmt::format("{}, {:.1f} %", said.front().name, 100.0 * said.front().score);
    text +=
        fmt::format(R"(<div class="other{}">{}: {}</div>)", same ? "" : " no", escape(sheet.engines[e]), escape(what));
  }
  return text;
}

std::string card(const ContactSheet& sheet, const Photograph& photograph) {
  const std::string picture =
      photograph.thumbnail.empty()
          ? R"(<div class="none"></div>)"
          : fmt::format(R"(<img loading="lazy" alt="" src="data:image/jpeg;base64,{}">)", base64(photograph.thumbnail));
  std::string said;
  if (!photograph.error.empty())
    said = "<p>not classified: " + escape(photograph.error) + "</p>";
  else if (!photograph.labels.empty())
    said = bars(photograph.labels.front()) + others(sheet, photograph);
  return fmt::format(R"(<figure class="photo{}">{}<figcaption>{}</figcaption><div class="said">{}</div></figure>)",
                     differs(photograph) ? " differs" : "", picture, escape(photograph.name), said);
}

std::string group(const ContactSheet& sheet, const std::string& title, bool wanted) {
  std::string cards;
  for (const Photograph& photograph : sheet.photographs)
    if (differs(photograph) == wanted) cards += card(sheet, photograph);
  if (cards.empty()) return {};
  return (title.empty() ? "" : "<h2>" + escape(title) + "</h2>") + "<div class=\"sheet\">" + cards + "</div>";
}

std::string lead(const ContactSheet& sheet) {
  std::string text = "What the network saw of each photograph, and its best classes.";
  const std::size_t differ = disagreements(sheet);
  if (sheet.engines.size() > 1)
    text += differ == 0
                ? fmt::format(" {} engines; their best class is the same on all of these.", sheet.engines.size())
                : fmt::format(" {} engines; their best class is not the same on {} of {}.", sheet.engines.size(),
                              differ, sheet.photographs.size());
  if (sheet.left_out > 0) text += fmt::format(" {} more are not shown.", sheet.left_out);
  return text;
}

}  // namespace

std::size_t disagreements(const ContactSheet& sheet) {
  return static_cast<std::size_t>(std::count_if(sheet.photographs.begin(), sheet.photographs.end(), differs));
}

std::string to_html(const ContactSheet& sheet) {
  const bool several = sheet.engines.size() > 1;
  std::string facts;
  for (const auto& [name, value] : sheet.facts)
    facts += fmt::format("<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
  return fmt::format(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>{0}</title><style>{1}{2}</style></head>"
      "<body><main><p class=\"over\">ferry</p><h1>{0}</h1><p class=\"lead\">{3}</p>{4}{5}"
      "<h2>How</h2><div class=\"card\"><dl>{6}</dl></div></main></body></html>\n",
      escape(sheet.title), html::kStyle, kSheetStyle, escape(lead(sheet)),
      several ? group(sheet, "Where engines disagree", true) : "",
      group(sheet, several && disagreements(sheet) > 0 ? "The others" : "", false), facts);
}

}  // namespace ferry
