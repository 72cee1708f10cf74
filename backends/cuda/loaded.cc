#include "cuda/loaded.h"

#include "cuda/boxes.h"
#include "cuda/support.h"
#include "cuda_support/tensor_map.h"
#include "nvinfer/failure.h"

namespace ferry::latency {

LoadedKernel::LoadedKernel(const cuda::DeviceInfo& device, bool int8)
    : kernels_(cuda::kernels_resnet()), function_(kernels_.function(int8 ? "ferry_resnet_int8" : "ferry_resnet")) {
  const auto shared = static_cast<unsigned>(device.shared_bytes);
  cuda::allow_shared(function_, shared);
  if (cuda::resident_blocks(function_, kBlock, shared) < 1)
    throw nvinfer::Failure(device.name, "the kernel does not fit on a multiprocessor of this GPU",
                           "use --backend tensorrt", FERRY_UNSUPPORTED);
  launch_ = {{static_cast<unsigned>(device.multiprocessors), 1, 1}, {kBlock, 1, 1}, shared, true};
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
