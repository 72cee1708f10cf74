#include "layers_text.h"

#include <fmt/core.h>

#include <cmath>
#include <vector>

#include "text.h"

namespace ferry::tool {
namespace {

constexpr std::size_t kName = 30, kKernel = 24;

// The end of a name tells more than its beginning, which layers share.
std::string ending_of(const std::string& text, std::size_t width) {
  if (text.empty()) return "-";
  const std::string clean = printable(text);
  return clean.size() <= width ? clean : ".." + clean.substr(clean.size() - width + 2);
}

std::string scaled(double value, double unit, const char* format) {
  return std::isfinite(value) ? fmt::format(fmt::runtime(format), value / unit) : "-";
}

std::string percent(double part, double whole) {
  return std::isfinite(part) && whole > 0 ? fmt::format("{:.0f} %", 100 * part / whole) : "-";
}

}  // namespace

std::string layers_table(const LayerProfile& profile) {
  std::vector<std::vector<std::string>> rows = {{"layer", "kernel", "type", "us", "of all", "MFLOP", "KB", "of floor"}};
  const double total = profile.total_ms();
  for (const LayerTime& layer : profile.layers)
    rows.push_back({ending_of(layer.name, kName), ending_of(layer.kernel.empty() ? layer.kind : layer.kernel, kKernel),
                    layer.precision.empty() ? "-" : ending_of(layer.precision, 5), scaled(layer.ms, 1e-3, "{:.1f}"),
                    percent(layer.ms, total), scaled(layer.flops, 1e6, "{:.0f}"), scaled(layer.bytes, 1e3, "{:.0f}"),
                    percent(layer.floor_ms, layer.ms)});
  std::string text = table(rows, "lllrrrrr");
  text += fmt::format("\n  {} layers, {:.3f} ms with a clock around each, floor {:.3f} ms", profile.layers.size(),
                      total, profile.floor_ms());
  if (profile.bytes_per_second > 0) text += fmt::format("; memory {:.2f} TB/s", profile.bytes_per_second / 1e12);
  for (const auto& [precision, flops] : profile.flops_per_second)
    text += fmt::format(", {} {:.0f} TFLOP/s", precision, flops / 1e12);
  return wrapped(text.substr(text.rfind('\n') + 1), 98, 2).insert(0, text.substr(0, text.rfind('\n') + 1)) + "\n";
}

}  // namespace ferry::tool
