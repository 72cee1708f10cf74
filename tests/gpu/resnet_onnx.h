// Whole ResNets with seeded FP16 or INT8 weights as ONNX files, written here byte by byte, so that tests on a machine
// with a GPU need no other library and no file.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace ferry::testing {

struct ResNetSpec {
  std::array<int, 4> depths{3, 4, 23, 3};
  std::array<int, 4> planes{64, 128, 256, 512};
  int stem = 64, classes = 1000, height = 224, width = 224;
  bool bottleneck = true;
  bool int8 = false;  // the same weights and activations in int8, as `ferry quantize` writes them
};

/// Batch norm folded; input "input" float32 [N,3,height,width], output "output" float32 [N,classes].
std::string resnet_onnx(const ResNetSpec& spec, std::uint64_t seed);

}  // namespace ferry::testing
