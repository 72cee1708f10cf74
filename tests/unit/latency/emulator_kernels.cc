// The emulated kernel for the fake CUDA driver, which loads this through $FAKE_CUDA_KERNELS. So all of the module but
// kernel.cuh itself is checked without a GPU: graph, tiles and how they are measured, packing, addresses in the arena,
// plan file, launches.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "gpu/latency_emulator.h"
#include "nvinfer/quick_job.h"

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

// The kernels of quick requests (nvinfer/quick.cu), of a device that waits for no input: one that has not come is late,
// and the request is repeated with copies.
void fetch(void** arguments, void*) {
  const auto& job = *static_cast<const ferry::nvinfer::FetchJob*>(arguments[0]);
  for (std::uint64_t at = 0; at < job.bytes; at += job.chunk) {
    const auto& ready = reinterpret_cast<const std::atomic<std::uint32_t>&>(job.control->ready[at / job.chunk]);
    if (ready.load(std::memory_order_acquire) == 0) job.control->late = 1;
    std::memcpy(job.to + at, job.from + at, std::min<std::uint64_t>(job.chunk, job.bytes - at));
  }
  *job.stamps = {1'000'000, 1'500'000};
}

void answer(void** arguments, void*) {
  const auto& job = *static_cast<const ferry::nvinfer::AnswerJob*>(arguments[0]);
  for (int i = 0; i < job.count; ++i) std::memcpy(job.to[i], job.from[i], job.bytes[i]);
  job.control->begun = job.stamps->begun;
  job.control->fetched = job.stamps->fetched;
  job.control->computed = 2'000'000;
  job.control->ended = 2'500'000;
  reinterpret_cast<std::atomic<std::uint32_t>&>(job.control->answered).store(1, std::memory_order_release);
}

}  // namespace

/// What the fake driver looks for: registers the kernels of this library.
extern "C" __attribute__((visibility("default"))) void fake_cuda_kernels(void (*define)(const char* name,
                                                                                        void (*work)(void**, void*),
                                                                                        void* user)) {
  define("ferry_resnet", run, nullptr);
  define("ferry_resnet_int8", run, nullptr);
  define("ferry_resnet_chained", run, nullptr);
  define("ferry_resnet_int8_chained", run, nullptr);
  define("ferry_fetch", fetch, nullptr);
  define("ferry_answer", answer, nullptr);
}
