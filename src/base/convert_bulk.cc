#include "base/convert_bulk.h"

#include <cstring>

#include "ferry/tensor.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#define FERRY_F16C 1
#endif

namespace ferry {
namespace {

#ifdef FERRY_F16C
bool have_f16c() noexcept {
  static const bool have = [] {
    unsigned int a = 0, b = 0, c = 0, d = 0;  // clang 14 does not know F16C by name
    return __builtin_cpu_supports("avx") && __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
  }();
  return have;
}

// Each converts whole groups of eight and returns how many elements it did.
__attribute__((target("avx,f16c"))) std::size_t widen_f16c(const std::byte* from, float* to, std::size_t count) {
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8)
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * i))));
  return i;
}

__attribute__((target("avx,f16c"))) std::size_t narrow_f16c(const std::byte* from, std::byte* to, std::size_t count) {
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 wide = _mm256_loadu_ps(reinterpret_cast<const float*>(from + 4 * i));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 2 * i), _mm256_cvtps_ph(wide, _MM_FROUND_TO_NEAREST_INT));
  }
  return i;
}
#endif

}  // namespace

void halves_to_floats(const std::byte* from, float* to, std::size_t count) noexcept {
  std::size_t i = 0;
#ifdef FERRY_F16C
  if (have_f16c()) i = widen_f16c(from, to, count);
#endif
  for (; i < count; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, from + 2 * i, sizeof bits);
    to[i] = half_to_float(bits);
  }
}

void floats_to_halves(const std::byte* from, std::byte* to, std::size_t count) noexcept {
  std::size_t i = 0;
#ifdef FERRY_F16C
  if (have_f16c()) i = narrow_f16c(from, to, count);
#endif
  for (; i < count; ++i) {
    float value;
    std::memcpy(&value, from + 4 * i, sizeof value);
    const std::uint16_t bits = float_to_half(value);
    std::memcpy(to + 2 * i, &bits, sizeof bits);
  }
}

}  // namespace ferry
