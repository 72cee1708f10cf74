// A small request without copies of the driver's: the first kernel reads the input out of the host's memory while the
// host is still writing it, the last one writes the outputs back and says that they are there.
#include "nvinfer/quick_job.h"

using namespace ferry::nvinfer;

namespace {

// Then the host does not come: it was stopped, or it waits for this very kernel (a debugger makes launches blocking).
constexpr unsigned long long kPatience_ns = 250'000'000;

__device__ unsigned long long now() {
  unsigned long long ns;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(ns));
  return ns;
}

__device__ std::uint32_t acquire(const std::uint32_t* flag) {
  std::uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
  return value;
}

__device__ void release(std::uint32_t* flag, std::uint32_t value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}

__device__ void await(const std::uint32_t* flag, std::uint32_t* late) {
  const unsigned long long begin = now();
  while (acquire(flag) == 0) {
    if (now() - begin < kPatience_ns) continue;
    release(late, 1);
    return;
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kFetchThreads) ferry_fetch(FetchJob job) {
  const std::uint64_t first = blockIdx.x * static_cast<std::uint64_t>(kFetchBlock);
  if (threadIdx.x == 0) {
    if (blockIdx.x == 0) job.stamps->begun = now();
    await(job.control->ready + first / job.chunk, &job.control->late);
  }
  __syncthreads();
  const std::uint64_t at = first + 16 * static_cast<std::uint64_t>(threadIdx.x);
  if (at + 16 <= job.bytes) {
    // An ordinary load: it comes after the flag, by acquire and barrier, and no block of this kernel has touched the
    // line before. A warp's 512 bytes cross the bus as four requests. (With `ld.cv` all of it was measured at 12 GB/s
    // on an H200, a quarter of the bus; which part of that was this load is not known.)
    *reinterpret_cast<uint4*>(job.to + at) = *reinterpret_cast<const uint4*>(job.from + at);
  } else {
    for (std::uint64_t i = at; i < job.bytes; ++i) job.to[i] = job.from[i];
  }
  __syncthreads();
  if (threadIdx.x == 0) atomicMax(&job.stamps->fetched, now());
}

extern "C" __global__ void __launch_bounds__(kAnswerThreads) ferry_answer(AnswerJob job) {
  QuickControl& control = *job.control;
  if (threadIdx.x == 0) {
    control.begun = job.stamps->begun;
    control.fetched = job.stamps->fetched;
    control.computed = now();
    job.stamps->fetched = 0;
  }
  for (int output = 0; output < job.count; ++output) {
    const std::uint32_t words = job.bytes[output] / 4;
    const auto* from = reinterpret_cast<const std::uint32_t*>(job.from[output]);
    auto* to = reinterpret_cast<std::uint32_t*>(job.to[output]);
    for (std::uint32_t i = threadIdx.x; i < words; i += blockDim.x) to[i] = from[i];
    const std::uint32_t rest = 4 * words + threadIdx.x;
    if (rest < job.bytes[output]) job.to[output][rest] = job.from[output][rest];
  }
  __threadfence_system();
  __syncthreads();
  if (threadIdx.x != 0) return;
  control.ended = now();
  release(&control.answered, 1);
}
