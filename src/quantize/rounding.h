// Rounding the weights of one output channel together, so that their errors cancel where neighbouring pixels agree.
#pragma once

#include <cstdint>
#include <vector>

#include "ferry/calibrate.h"

namespace ferry {

/// Second moments of what the taps of one output channel meet: an n x n matrix, row by row, in the order [channel, y,
/// x] of the weights.
std::vector<double> window_moments(const PictureMoments& picture, std::int64_t height, std::int64_t width,
                                   std::int64_t dilation_y, std::int64_t dilation_x);

/// Takes the taps one by one and lets those that are still to come make up for what was rounded: successive rounding
/// along the Cholesky factor of the moments (Babai's nearest plane; GPTQ, arXiv:2210.17323, is the same thing).
class JointRounding {
 public:
  /// `moments`: n x n, symmetric. A ten-thousandth of their mean diagonal is added to the diagonal: pictures of one
  /// colour must not make any weight free.
  explicit JointRounding(std::vector<double> moments);
  /// False where there is nothing to go by: moments that are zero, not finite, or no second moments of anything.
  bool usable() const noexcept { return !factor_.empty(); }
  /// `weights`, n of them, as whole multiples of `scale` within [-steps, steps].
  std::vector<std::int8_t> round(const float* weights, float scale, float steps) const;
  /// Mean square over the pictures of what a window with these n weights (or errors of weights) adds up to.
  double power(const std::vector<double>& weights) const;

 private:
  std::size_t size_ = 0;
  std::vector<double> moments_, factor_;  // factor: R of R'R, upper triangle; empty: not usable
};

}  // namespace ferry
