// Random numbers that are the same on every machine and standard library (std::normal_distribution is not).
#pragma once

#include <cmath>
#include <cstdint>

namespace ferry {

/// SplitMix64 (Steele, Lea, Flood 2014): a counter and a mixer.
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() noexcept {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  /// In (0, 1): never 0, so that a logarithm is finite.
  double uniform() noexcept { return (static_cast<double>(next() >> 11) + 0.5) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

/// Fills with normal values through the inverse of the normal distribution, made of +, *, / and sqrt only, which IEEE
/// 754 fixes to the last bit: the same on every machine (src/CMakeLists.txt forbids fusing them).
void fill_normal(float* data, std::size_t count, double mean, double stddev, SplitMix64& random);

}  // namespace ferry
