// Shared memory, and where warps, the block and the grid wait for each other.
#pragma once
#include "cuda/kernel/instructions.cuh"

namespace ferry::latency {

extern __shared__ __align__(1024) char smem[];

struct Shared {
  uint32_t low, high;  // addresses of the first stack and of the end
  __device__ __forceinline__ uint32_t stack(int item, const ConvDesc& c) const {
    return item & 1 ? high - c.stack : low;
  }
};
__device__ __forceinline__ const Phase* phase_table() { return reinterpret_cast<const Phase*>(smem + kTable); }
__device__ __forceinline__ const ConvDesc* conv_table(const Net& n) {
  return reinterpret_cast<const ConvDesc*>(smem + kTable + n.count * static_cast<int>(sizeof(Phase)));
}
__device__ __forceinline__ uint32_t head() { return smem_u32(smem); }

// Bounded: gives up when another warp has, or after the watchdog's time.
__device__ __forceinline__ bool mbar_late(const Net& n, uint32_t bar, uint32_t parity) {
  const long long start = clock64();
  while (!mbar_try(bar, parity)) {
    if (*reinterpret_cast<const volatile int*>(smem + kFailed)) return false;
    if (clock64() - start > n.watchdog) {
      atomicExch(n.failed, 2u);
      *reinterpret_cast<volatile int*>(smem + kFailed) = 1;
      return false;
    }
  }
  return true;
}
__device__ __forceinline__ bool mbar_wait(const Net& n, uint32_t bar, uint32_t parity) {
  return mbar_try(bar, parity) || mbar_late(n, bar, parity);
}

constexpr int kDone = 1, kGo = 2, kTeam = 3;
// A barrier counts warps, so a warp must come whole.
__device__ __forceinline__ void bar_sync(int id, int threads) {
  __syncwarp();
  asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void bar_arrive(int id, int threads) {
  __syncwarp();
  asm volatile("bar.arrive %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void team_sync() { bar_sync(kTeam, kThreads); }

// Every multiplying warp says for itself that its part of a phase is stored.
__device__ __forceinline__ void grid_arrive(const Net& n, unsigned count) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;\n" ::"l"(n.counter + blockIdx.x % kShards * kShardStride),
               "r"(count)
               : "memory");
}
// Each lane below kShards watches one part of the counter. Two looks are always under way, half a journey apart, so the
// grid's meeting is seen sooner. They are relaxed: an acquire would empty L1 after every look and hold up the next.
// What is read afterwards comes by the copy engine or by ld.global.cg, both from L2, and is asked for only after the
// branch on what was seen.
__device__ __forceinline__ unsigned look(const Net& n, unsigned target, int lane) {
  unsigned v = target;
  if (lane < kShards)
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];\n" : "=r"(v) : "l"(n.counter + lane * kShardStride) : "memory");
  return v;
}
__device__ __forceinline__ bool reached(unsigned v, unsigned target) {
  return __all_sync(~0u, static_cast<int>(v - target) >= 0);
}
__device__ __forceinline__ bool grid_wait(const Net& n, unsigned target, int lane) {
  constexpr int kHalfJourney = 350;  // cycles
  const long long start = clock64();
  unsigned v = look(n, target, lane);
  while (clock64() - start < kHalfJourney) {
  }
  for (;;) {
    const unsigned w = look(n, target, lane);
    if (reached(v, target)) return true;
    v = look(n, target, lane);
    if (reached(w, target)) return true;
    if (clock64() - start > n.watchdog) {
      if (lane == 0) atomicExch(n.failed, 1u);
      return false;
    }
  }
}

}  // namespace ferry::latency
