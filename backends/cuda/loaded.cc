#include "cuda/loaded.h"

#include "cuda/boxes.h"
#include "cuda/support.h"
#include "cuda_support/tensor_map.h"
#include "nvinfer/failure.h"

namespace ferry::latency {

const char* kernel_name(bool int8, bool in_clusters) {
  if (in_clusters) return int8 ? "ferry_resnet_int8_chained" : "ferry_resnet_chained";
  return int8 ? "ferry_resnet_int8" : "ferry_resnet";
}

LoadedKernel::LoadedKernel(const cuda::DeviceInfo& device, bool int8)
    : kernels_(cuda::kernels_resnet()),
      function_(kernels_.function(kernel_name(int8, false))),
      chained_(kernels_.function(kernel_name(int8, true))) {
  const auto shared = static_cast<unsigned>(device.shared_bytes);
  cuda::allow_shared(function_, shared);
  cuda::allow_shared(chained_, shared);
  if (cuda::resident_blocks(function_, kBlock, shared) < 1)
    throw nvinfer::Failure(device.name, "the kernel does not fit on a multiprocessor of this GPU",
                           "use --backend tensorrt", FERRY_UNSUPPORTED);
  launch_ = {{static_cast<unsigned>(device.multiprocessors), 1, 1}, {kBlock, 1, 1}, shared, true};
  cuda::Launch one = launch_;
  one.grid[0] = one.cluster = kCluster;
  if (device.major >= 9) clusters_ = cuda::resident_clusters(chained_, one);
}

cuda::Launch LoadedKernel::launch(bool in_clusters) const noexcept {
  cuda::Launch how = launch_;
  if (!in_clusters) return how;
  how.cluster = kCluster;
  how.grid[0] = static_cast<unsigned>(clusters_ * kCluster);
  return how;
}

std::size_t maps_bytes(const Program& program) { return program.convs.size() * cuda::TensorMap::kBytes; }

void write_maps(const Program& program, char* arena, char* to) {
  for (const ConvDesc& c : program.convs) {
    if (c.kind == kStem) continue;
    cuda::TensorMap map = boxes_of(c);
    map.address = arena + c.in;
    cuda::encode(map, to + static_cast<std::size_t>(c.map) * cuda::TensorMap::kBytes);
  }
}

}  // namespace ferry::latency
