// Where the time of a network goes: stages stacked in one bar, then the layers that take longest beside their floor.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "report/html_parts.h"
#include "report/numbers.h"

namespace ferry::html {
namespace {

constexpr std::size_t kListed = 12;
constexpr std::array kGroups{"stem",        "layer1", "layer2", "layer3", "layer4", "pool and classifier",
                             "conversions", "other"};

bool contains_any(const std::string& text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* w) { return text.find(w) != std::string::npos; });
}

// Index into kGroups, by the names that exports give their nodes.
std::size_t group_of(const LayerTime& layer) {
  const std::string& name = layer.name;
  const std::size_t at = name.find("layer");
  if (at != std::string::npos && at + 5 < name.size() && name[at + 5] >= '1' && name[at + 5] <= '4')
    return static_cast<std::size_t>(name[at + 5] - '0');
  if (contains_any(name, {"eformat", "CopyNode", "ranspose"}) || contains_any(layer.kind, {"Reformat"})) return 6;
  if (contains_any(name, {"avgpool", "fc", "flatten", "softmax", "topk", "probabilities", "classes"})) return 5;
  if (contains_any(name, {"conv1", "maxpool", "input", "bn1"})) return 0;
  return 7;
}

std::string stacked(const LayerProfile& profile) {
  std::array<double, kGroups.size()> sums{}, floors{};
  for (const LayerTime& layer : profile.layers) {
    const std::size_t group = group_of(layer);
    if (std::isfinite(layer.ms)) sums[group] += layer.ms;
    if (layer.floor_ms > 0) floors[group] += layer.floor_ms;
  }
  const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
  std::string shapes, legend;
  double at = 0;
  for (std::size_t g = 0; g < sums.size(); ++g) {
    if (!(sums[g] > 0)) continue;
    const double width = 100 * sums[g] / total;
    shapes += fmt::format(R"(<rect class="g{}" x="{:.3f}" width="{:.3f}" height="10"/>)", g, at, width);
    const std::string floor = floors[g] > 0 ? fmt::format(" (floor {:.0f} % of it)", 100 * floors[g] / sums[g]) : "";
    legend += fmt::format(R"(<span><i class="g{}"></i>{} {} ms, {:.0f} %{}</span>)", g, kGroups[g],
                          milliseconds(sums[g]), width, floor);
    at += width;
  }
  return fmt::format(
      R"(<div class="bar stack"><svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="share of each stage">{}</svg><span class="legend">{}</span></div>)",
      shapes, legend);
}

std::string floor_text(const LayerTime& layer) {
  if (!(layer.floor_ms > 0)) return "floor unknown";
  return fmt::format("floor {} ms: {:.0f} % of the time", milliseconds(layer.floor_ms),
                     100 * layer.floor_ms / layer.ms);
}

std::string layer_bar(const LayerTime& layer, double longest) {
  const double width = 100 * layer.ms / longest, floor = layer.floor_ms > 0 ? 100 * layer.floor_ms / longest : 0;
  const std::string mark =
      floor > 0 ? fmt::format(R"(<line x1="{0:.2f}" x2="{0:.2f}" y1="0" y2="10"/>)", std::min(floor, 100.0))
                : std::string();
  return fmt::format(
      R"(<div class="bar"><span class="name">{}</span><span class="value mark">{} ms</span>)"
      R"(<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{}"><rect class="g{}" width="{:.2f}" height="10"/>{}</svg>)"
      R"(<span class="under"><span>{}</span><span>{}</span></span></div>)",
      escape(layer.name), milliseconds(layer.ms), escape(layer.name), group_of(layer), width, mark, floor_text(layer),
      escape(layer.kernel.empty() ? layer.kind : layer.kernel));
}

std::string profile_html(const ComparisonRow& row) {
  const LayerProfile& profile = *row.layers;
  std::vector<LayerTime> longest;
  for (const LayerTime& layer : profile.layers)
    if (layer.ms > 0) longest.push_back(layer);
  if (longest.empty()) return {};
  std::stable_sort(longest.begin(), longest.end(), [](const auto& a, const auto& b) { return a.ms > b.ms; });
  longest.resize(std::min(longest.size(), kListed));
  std::string bars;
  for (const LayerTime& layer : longest) bars += layer_bar(layer, longest.front().ms);
  const double total = profile.total_ms(), floor = profile.floor_ms();
  std::string sums = fmt::format("{} layers, {} ms one by one", profile.layers.size(), milliseconds(total));
  if (floor > 0)
    sums += fmt::format("; the device could do them in {} ms ({:.0f} %)", milliseconds(floor), 100 * floor / total);
  return fmt::format(
      R"(<section class="card"><h3>{} {}, batch {}</h3><p>{}.</p>{}<details><summary>The {} longest layers; the line is what the device needs at least</summary>{}</details></section>)",
      escape(row.engine), escape(row.precision), profile.batch, sums, stacked(profile), longest.size(), bars);
}

}  // namespace

std::string layers(const Comparison& comparison) {
  std::string text;
  for (const ComparisonRow& row : comparison.rows)
    if (row.failure.empty() && row.layers) text += profile_html(row);
  if (text.empty()) return text;
  return "<h2>Where the time goes</h2>" + text +
         R"(<p class="key">A clock around every layer: layers then neither overlap nor follow each other without a gap, so the sum is )"
         R"(more than a run takes. Shares are what to read.</p>)";
}

}  // namespace ferry::html
