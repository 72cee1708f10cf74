// The emulated kernel for the fake CUDA driver, which loads this through $FAKE_CUDA_KERNELS. So all of the module but
// kernel.cuh itself is checked without a GPU: graph, tiles, packing, addresses in the arena, plan file, launches.
#include "gpu/latency_emulator.h"

namespace {

void run(void** arguments, void*) {
  const auto& net = *static_cast<const ferry::latency::Net*>(arguments[0]);
  for (int i = 0; i < net.count; ++i) ferry::latency::emulate(net, net.phases[i]);
}

}  // namespace

/// What the fake driver looks for: registers the kernels of this library.
extern "C" __attribute__((visibility("default"))) void fake_cuda_kernels(void (*define)(const char* name,
                                                                                        void (*work)(void**, void*),
                                                                                        void* user)) {
  define("ferry_resnet", run, nullptr);
}
