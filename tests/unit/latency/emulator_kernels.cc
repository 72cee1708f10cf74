// The emulated kernel for the fake CUDA driver, which loads this through $FAKE_CUDA_KERNELS. So all of the module but
// kernel.cuh itself is checked without a GPU: graph, tiles and how they are measured, packing, addresses in the arena,
// plan file, launches.
#include "gpu/latency_emulator.h"

namespace {

/// Who measures gets times at once, and no results: of a GPU that likes tiles best that the model likes least, so that
/// plans built here have other tiles than those of the model.
void tell_time(const ferry::latency::Net& net) {
  net.clocks[0] = 1;
  for (int p = 0; p < net.count; ++p) {
    long long cycles = 1000;
    for (int k = 0; k < net.phases[p].convs; ++k) {
      const ferry::latency::ConvDesc& c = net.convs[net.phases[p].conv[k]];
      cycles += 1000 / c.passes + 100 * c.wn + 10 * (c.cfg >> 2) + c.tn;
    }
    net.clocks[p + 1] = net.clocks[p] + cycles;
  }
}

void run(void** arguments, void*) {
  const auto& net = *static_cast<const ferry::latency::Net*>(arguments[0]);
  if (net.clocks != nullptr) {
    tell_time(net);
    return;
  }
  for (int i = 0; i < net.count; ++i) ferry::latency::emulate(net, net.phases[i]);
}

}  // namespace

/// What the fake driver looks for: registers the kernels of this library.
extern "C" __attribute__((visibility("default"))) void fake_cuda_kernels(void (*define)(const char* name,
                                                                                        void (*work)(void**, void*),
                                                                                        void* user)) {
  define("ferry_resnet", run, nullptr);
  define("ferry_resnet_int8", run, nullptr);
}
