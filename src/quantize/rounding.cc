#include "quantize/rounding.h"

#include <algorithm>
#include <cmath>

namespace ferry {
namespace {

// R with R'R = m, in the upper triangle; empty if m is not positive definite.
std::vector<double> cholesky(const std::vector<double>& m, std::size_t n) {
  std::vector<double> r(m.size(), 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i; j < n; ++j) {
      double sum = m[i * n + j];
      for (std::size_t k = 0; k < i; ++k) sum -= r[k * n + i] * r[k * n + j];
      if (j == i && !(sum > 0)) return {};
      r[i * n + j] = j == i ? std::sqrt(sum) : sum / r[i * n + i];
    }
  }
  return r;
}

}  // namespace

std::vector<double> window_moments(const PictureMoments& picture, std::int64_t height, std::int64_t width,
                                   std::int64_t dilation_y, std::int64_t dilation_x) {
  struct Tap {
    std::int64_t c, y, x;
  };
  std::vector<Tap> taps;
  for (std::int64_t c = 0; c < picture.channels; ++c)
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x) taps.push_back({c, y * dilation_y, x * dilation_x});
  std::vector<double> moments;
  moments.reserve(taps.size() * taps.size());
  for (const Tap& a : taps)
    for (const Tap& b : taps) moments.push_back(picture.at(a.c, b.c, b.y - a.y, b.x - a.x));
  return moments;
}

JointRounding::JointRounding(std::vector<double> moments)
    : size_(static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(moments.size()))))),
      moments_(std::move(moments)) {
  double diagonal = 0;
  for (std::size_t i = 0; i < size_; ++i) diagonal += moments_[i * size_ + i];
  if (!(diagonal > 0) || !std::isfinite(diagonal)) return;
  std::vector<double> damped = moments_;
  for (std::size_t i = 0; i < size_; ++i) damped[i * size_ + i] += 1e-4 * diagonal / static_cast<double>(size_);
  factor_ = cholesky(damped, size_);
}

std::vector<std::int8_t> JointRounding::round(const float* weights, float scale, float steps) const {
  std::vector<std::int8_t> rounded(size_);
  std::vector<double> error(size_);  // of what is rounded already
  for (std::size_t i = size_; i-- > 0;) {
    const double* row = &factor_[i * size_];
    double wanted = static_cast<double>(weights[i]);
    for (std::size_t j = i + 1; j < size_; ++j) wanted -= row[j] / row[i] * error[j];
    const double q = std::clamp(std::nearbyint(wanted / static_cast<double>(scale)), -static_cast<double>(steps),
                                static_cast<double>(steps));
    rounded[i] = static_cast<std::int8_t>(q);
    error[i] = q * static_cast<double>(scale) - static_cast<double>(weights[i]);
  }
  return rounded;
}

double JointRounding::power(const std::vector<double>& weights) const {
  double sum = 0;
  for (std::size_t i = 0; i < size_; ++i)
    for (std::size_t j = 0; j < size_; ++j) sum += weights[i] * moments_[i * size_ + j] * weights[j];
  return sum;
}

}  // namespace ferry
