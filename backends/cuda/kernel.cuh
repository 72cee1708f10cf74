// The whole of a ResNet as one persistent kernel (docs/latency-engine.md).
//
// A phase is a layer. Every block takes a tile of it, then the grid meets. Eight warps of a block multiply, splitting K
// among them; the ninth feeds them: it starts the weights of the next phase while this one is multiplied, says that the
// block is done, waits for the grid and only then starts the activations.
#pragma once
#include "cuda/kernel/feeder.cuh"
#include "cuda/kernel/multiply.cuh"
#include "cuda/kernel/pools.cuh"

namespace ferry::latency {

template <bool INT8>
__device__ __forceinline__ void work(const Net& net, const Shared s) {
  uint32_t parity = 0;  // of the stacks' "full" barriers, a bit each
#pragma unroll 1
  for (int p = 0; p < net.count; ++p) {
    const Phase& ph = phase_table()[p];
    const int phase = p;
    if (ph.kind == kPhaseConv) {
      if (!has_work(ph)) continue;
      int item = ph.item0;
#pragma unroll 1
      for (int t = blockIdx.x; t < ph.tiles; t += gridDim.x, item += ph.per_tile)
        if (!conv_tile<INT8>(net, s, find_tile(net, ph, t), item, parity, phase)) {
          bar_arrive(kDone, kBlock);
          return;
        }
    } else if (ph.kind == kPhaseFc) {
      if (!fully_connected(net, s.low, ph)) return;
    } else {
      if (!wait_go()) return;
      if (ph.kind == kPhaseMaxPool)
        max_pool<INT8>(net, ph);
      else
        avg_pool(net, ph);
    }
    if (p + 1 < net.count) {
      __syncwarp();
      if ((threadIdx.x & 31) == 0) grid_arrive(net, 1);
    }
    STAMP(5);
    bar_arrive(kDone, kBlock);
  }
}

template <bool INT8>
__device__ __forceinline__ void run(const Net& net) {
  Shared s;
  s.low = head() + table_bytes(net.count, net.convs_count);
  uint32_t size;
  asm volatile("mov.u32 %0, %%dynamic_smem_size;" : "=r"(size));
  s.high = head() + size / 1024 * 1024;
  if (threadIdx.x < kTable / 4) reinterpret_cast<int*>(smem)[threadIdx.x] = 0;
  const int np = net.count * sizeof(Phase) / 16, nc = net.convs_count * sizeof(ConvDesc) / 16;
  uint4* table = reinterpret_cast<uint4*>(smem + kTable);
  for (int i = threadIdx.x; i < np + nc; i += kBlock)
    table[i] =
        i < np ? reinterpret_cast<const uint4*>(net.phases)[i] : reinterpret_cast<const uint4*>(net.convs)[i - np];
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int q = 0; q < 2; ++q)
      mbar_init(head() + kFull + q * 8, kFullArrivals), mbar_init(head() + kEmpty + q * 8, kWarps);
#ifdef FERRY_BULK
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
#endif
  }
  __syncthreads();
  if (threadIdx.x >= kThreads)
    feed(net, s);
  else
    work<INT8>(net, s);
}

}  // namespace ferry::latency

extern "C" __global__ void __launch_bounds__(ferry::latency::kBlock, 1)
    ferry_resnet(const __grid_constant__ ferry::latency::Net net) {
  ferry::latency::run<false>(net);
}
extern "C" __global__ void __launch_bounds__(ferry::latency::kBlock, 1)
    ferry_resnet_int8(const __grid_constant__ ferry::latency::Net net) {
  ferry::latency::run<true>(net);
}
