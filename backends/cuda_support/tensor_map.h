// How the copy engine of compute capability 9.0 and later finds boxes of a tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ferry::cuda {

/// A float16 tensor in device memory, innermost dimension first and contiguous; boxes arrive with the swizzle of 128
/// bytes and zeros for what lies outside.
struct TensorMap {
  static constexpr std::size_t kBytes = 128;  // encoded; at addresses that are multiples of 64
  void* address = nullptr;
  std::vector<std::uint64_t> sizes, strides;  // strides in bytes, from the second dimension on
  std::vector<std::uint32_t> box;
};

/// Writes the encoded map to `to` (kBytes, on the host). Throws Error.
void encode(const TensorMap& map, void* to);

}  // namespace ferry::cuda
