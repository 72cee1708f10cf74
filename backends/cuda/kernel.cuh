// The whole of a ResNet as one persistent kernel (docs/latency-engine.md).
//
// A phase is a layer. Every block takes a tile of it, then the grid meets. Eight warps of a block multiply, splitting K
// among them; the ninth feeds them: it starts the weights of the next phase while this one is multiplied, says that the
// block is done, waits for the grid and only then starts the activations.
#pragma once
#include "cuda/kernel/chain.cuh"
#include "cuda/kernel/feeder.cuh"
#include "cuda/kernel/multiply.cuh"
#include "cuda/kernel/pools.cuh"

namespace ferry::latency {

template <bool INT8, bool CHAINS>
__device__ __forceinline__ void work(const Net& net, const Shared s) {
  uint32_t parity = 0;  // of the stacks' "full" barriers, a bit each; of the two of a chain's exchange, bits 2 and 3
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
#ifdef FERRY_BULK
    } else if (CHAINS && ph.kind == kPhaseChain) {
      if (!has_work(ph)) continue;
      parity = chain<INT8>(net, s, ph, parity, phase);
      if (parity == kGivenUp) {
        bar_arrive(kDone, kBlock);
        return;
      }
#endif
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

template <bool INT8, bool CHAINS>
__device__ __forceinline__ void run(const Net& net) {
  Shared s;
  s.low = head() + table_bytes(net.count, net.convs_count) + net.exchange;
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
    for (int q = 0; q < 2; ++q) mbar_init(head() + kExchange + q * 8, 1);
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
#endif
  }
  __syncthreads();
  if (threadIdx.x >= kThreads)
    feed<CHAINS>(net, s);
  else
    work<INT8, CHAINS>(net, s);
#ifdef FERRY_BULK
  if (CHAINS) {
    __syncwarp();
    leave_cluster();
  }
#endif
}

}  // namespace ferry::latency

extern "C" __global__ void __launch_bounds__(ferry::latency::kBlock, 1)
    ferry_resnet(const __grid_constant__ ferry::latency::Net net) {
  ferry::latency::run<false, false>(net);
}
extern "C" __global__ void __launch_bounds__(ferry::latency::kBlock, 1)
    ferry_resnet_int8(const __grid_constant__ ferry::latency::Net net) {
  ferry::latency::run<true, false>(net);
}
// With chains, in clusters: kernels of their own, because calls take registers from all phases.
extern "C" __global__ void __launch_bounds__(ferry::latency::kBlock, 1)
    ferry_resnet_chained(const __grid_constant__ ferry::latency::Net net) {
#ifdef FERRY_BULK
  ferry::latency::run<false, true>(net);
#endif
}
extern "C" __global__ void __launch_bounds__(ferry::latency::kBlock, 1)
    ferry_resnet_int8_chained(const __grid_constant__ ferry::latency::Net net) {
#ifdef FERRY_BULK
  ferry::latency::run<true, true>(net);
#endif
}
