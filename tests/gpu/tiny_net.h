// A small residual network made from a seed: its ONNX file, written here byte by byte so that these tests need no other
// library, and its answer, computed here in double precision.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ferry::testing {

struct TinyNet {
  static constexpr int kChannels = 3, kSize = 32, kWidth = 32, kClasses = 10;
  static constexpr std::size_t kRow = kChannels * kSize * kSize;  // floats of one image

  explicit TinyNet(std::uint32_t seed);

  /// precision "fp32", "fp16" (weights and arithmetic; inputs and outputs stay fp32) or "int8" (Q/DQ). `batch` 0 makes
  /// it dynamic.
  std::string onnx(const std::string& precision, std::int64_t batch = 0) const;
  /// Logits of `count` images.
  std::vector<float> answer(const std::vector<float>& images, std::size_t count) const;
  /// Seeded images.
  static std::vector<float> images(std::size_t count, std::uint32_t seed);

  std::vector<float> conv1, conv2, conv3, dense;  // conv weights [out][in][3][3], dense [class][width]
};

/// ||out - expected|| / ||expected||; NaN or Inf anywhere makes it NaN, which fails every `<=`.
double relative_error(const std::vector<float>& out, const std::vector<float>& expected);

}  // namespace ferry::testing
