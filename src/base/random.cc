#include "base/random.h"

#include <bit>

#include "ferry/tensor.h"

namespace ferry {
namespace {

// Natural logarithm of a normal number in (0, 1): +, *, / only, so that it is the same on every machine (std::log is
// not). x = 2^e * m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(t), t = (m - 1) / (m + 1), |t| < 0.172, whose
// series is cut below 1e-17.
double portable_log(double x) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffULL) | 0x3ff0000000000000ULL);  // [1, 2)
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double t = (m - 1) / (m + 1), t2 = t * t;
  double series = 0;
  for (int k = 21; k >= 1; k -= 2) series = series * t2 + 1.0 / k;
  return exponent * 0.6931471805599453 + 2 * t * series;
}

// Inverse of the standard normal distribution, P. J. Acklam's rational approximation (relative error 1.15e-9).
double inverse_normal(double p) {
  static constexpr double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                                 1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  static constexpr double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02,
                                 6.680131188771972e+01, -1.328068155288572e+01};
  static constexpr double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                                 -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  static constexpr double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                                 3.754408661907416e+00};
  constexpr double low = 0.02425;
  if (p < low || p > 1 - low) {
    const double q = std::sqrt(-2 * portable_log(p < low ? p : 1 - p));
    const double x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
                     ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    return p < low ? x : -x;
  }
  const double q = p - 0.5, r = q * q;
  return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
         (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

}  // namespace

void fill_normal(float* data, std::size_t count, double mean, double stddev, SplitMix64& random) {
  for (std::size_t i = 0; i < count; ++i)
    data[i] = static_cast<float>(mean + stddev * inverse_normal(random.uniform()));
}

Tensor Tensor::random_normal(Shape shape, std::uint64_t seed) {
  Tensor tensor(DType::kFloat32, std::move(shape));
  SplitMix64 random(seed);
  fill_normal(tensor.floats().data(), tensor.floats().size(), 0.0, 1.0, random);
  return tensor;
}

}  // namespace ferry
