#include "cuda_support/tensor_map.h"

#include <cstring>
#include <string>

#include "cuda_support/driver.h"
#include "cuda_support/error.h"

namespace ferry::cuda {

void encode(const TensorMap& map, void* to) {
  static_assert(sizeof(CUtensorMap) == TensorMap::kBytes);
  const auto function = driver().cuTensorMapEncodeTiled;
  if (function == nullptr)
    throw Unavailable("the NVIDIA driver is too old for this GPU's copy engine: it lacks cuTensorMapEncodeTiled",
                      "install an NVIDIA driver of CUDA 12 or newer");
  CUtensorMap encoded;
  const std::vector<std::uint32_t> ones(map.sizes.size(), 1);
  const CUresult code =
      function(&encoded, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, static_cast<cuuint32_t>(map.sizes.size()), map.address,
               map.sizes.data(), map.strides.data(), map.box.data(), ones.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
               CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  std::string detail = "a tensor of";
  for (const std::uint64_t size : map.sizes) detail += " " + std::to_string(size);
  check(code, "cuTensorMapEncodeTiled", detail);
  std::memcpy(to, &encoded, sizeof encoded);
}

}  // namespace ferry::cuda
