// float32 -> float16, to nearest, ties to even.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace ferry::latency {

inline std::uint16_t to_half(float value) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double size = std::fabs(static_cast<double>(value));
  if (std::isnan(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  int exponent = 0;
  std::frexp(size, &exponent);
  const int scale = std::max(exponent, -13) - 11;  // of the last bit
  const auto steps = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(size, -scale)));
  if (steps < 1024) return sign | static_cast<std::uint16_t>(steps);  // denormal
  // A step count of 2048 carries into the exponent by itself.
  return sign | static_cast<std::uint16_t>(((scale + 24) << 10) + static_cast<int>(steps));
}

}  // namespace ferry::latency
