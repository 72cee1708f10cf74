#include "report/numbers.h"

#include <fmt/format.h>

#include <cmath>

namespace ferry {

std::string milliseconds(double value) {
  if (!std::isfinite(value)) return "-";
  if (value < 10) return fmt::format("{:.3f}", value);
  if (value < 100) return fmt::format("{:.2f}", value);
  return value < 1000 ? fmt::format("{:.1f}", value) : fmt::format("{:.0f}", value);
}

std::string rate(double per_second) {
  if (!std::isfinite(per_second)) return "-";
  if (per_second < 10) return fmt::format("{:.2f}", per_second);
  return per_second < 1000 ? fmt::format("{:.1f}", per_second) : fmt::format("{:.0f}", per_second);
}

std::string small(double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "NaN" : "Inf";
  return value == 0 ? "0" : fmt::format("{:.1e}", value);
}

std::string share(double value) {
  if (!std::isfinite(value)) return "-";
  const double percent = 100 * value;
  if (percent > 100 - 1e-9) return "100 %";
  return fmt::format("{:.1f} %", std::floor(10 * percent + 1e-9) / 10);
}

}  // namespace ferry
