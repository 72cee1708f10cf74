// The instructions that preparing pictures is made of: nvcc compiles them to one each, the host to what they mean.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define FERRY_HD __host__ __device__ inline
#define FERRY_UNROLL _Pragma("unroll")
#else
#define FERRY_HD inline
#define FERRY_UNROLL
#endif

namespace ferry::pictures {

/// The 32-bit word at an address that is a multiple of 4.
FERRY_HD std::uint32_t word_at(std::uintptr_t address) {
#ifdef __CUDA_ARCH__
  return __ldg(reinterpret_cast<const unsigned*>(address));
#else
  std::uint32_t word;
  std::memcpy(&word, reinterpret_cast<const void*>(address), sizeof word);
  return word;
#endif
}

FERRY_HD float as_float(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

/// Bytes `first / 8` to `first / 8 + 3` of the eight of `low` and `high`; `first` is taken modulo 32.
FERRY_HD std::uint32_t four_of(std::uint32_t low, std::uint32_t high, std::uint32_t first) {
#ifdef __CUDA_ARCH__
  return __funnelshift_r(low, high, first);
#else
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(high) << 32 | low) >> (first & 31));
#endif
}

/// Four bytes chosen from the eight of `low` and `high`, by the four lowest hexadecimal digits of `which` (0 to 7).
FERRY_HD std::uint32_t choose(std::uint32_t low, std::uint32_t high, std::uint32_t which) {
#ifdef __CUDA_ARCH__
  return __byte_perm(low, high, which);
#else
  const std::uint64_t all = static_cast<std::uint64_t>(high) << 32 | low;
  std::uint32_t word = 0;
  for (int i = 0; i < 4; ++i) word |= static_cast<std::uint32_t>(all >> 8 * (which >> 4 * i & 7) & 255) << 8 * i;
  return word;
#endif
}

/// sum + the products of the four bytes of each.
FERRY_HD std::uint32_t dot4(std::uint32_t bytes, std::uint32_t weights, std::uint32_t sum) {
#ifdef __CUDA_ARCH__
  return __dp4a(bytes, weights, sum);
#else
  for (int i = 0; i < 32; i += 8) sum += (bytes >> i & 255) * (weights >> i & 255);
  return sum;
#endif
}

/// sum + the products of the two halves of `weights` with the two low bytes (dot2_low) or the two high ones.
FERRY_HD std::uint32_t dot2_low(std::uint32_t weights, std::uint32_t bytes, std::uint32_t sum) {
#ifdef __CUDA_ARCH__
  return __dp2a_lo(weights, bytes, sum);
#else
  return sum + (weights & 0xFFFF) * (bytes & 255) + (weights >> 16) * (bytes >> 8 & 255);
#endif
}
FERRY_HD std::uint32_t dot2_high(std::uint32_t weights, std::uint32_t bytes, std::uint32_t sum) {
#ifdef __CUDA_ARCH__
  return __dp2a_hi(weights, bytes, sum);
#else
  return dot2_low(weights, bytes >> 16, sum);
#endif
}

}  // namespace ferry::pictures
