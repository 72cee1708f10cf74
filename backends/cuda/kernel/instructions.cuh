// The instructions that CUDA C++ has no words for.
#pragma once
#include <cuda_fp16.h>

#include "cuda/phases.h"

// Compute capability 9.0 and later copy with the bulk engine; before, the feeding warp copies by cp.async, 16 bytes a
// lane.
#if !defined(FERRY_NO_BULK) && (!defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900)
#define FERRY_BULK 1
#endif

namespace ferry::latency {

__device__ __forceinline__ uint32_t smem_u32(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
__device__ __forceinline__ void mbar_init(uint32_t bar, int count) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;\n" ::"r"(bar), "r"(count) : "memory");
}
__device__ __forceinline__ void mbar_arrive(uint32_t bar) {
  asm volatile("mbarrier.arrive.shared.b64 _, [%0];\n" ::"r"(bar) : "memory");
}
__device__ __forceinline__ bool mbar_try(uint32_t bar, uint32_t parity) {
  uint32_t done;
#ifdef FERRY_BULK
  asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }\n"
#else
  asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }\n"
#endif
               : "=r"(done)
               : "r"(bar), "r"(parity)
               : "memory");
  return done;
}
__device__ __forceinline__ int divide(int n, uint32_t by) { return by ? __umulhi(n, by) : n; }
#ifdef FERRY_BULK
constexpr int kFullArrivals = 2;  // one for the weights, one for the activations, each with the bytes to expect
__device__ __forceinline__ void mbar_expect(uint32_t bar, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(bar), "r"(bytes) : "memory");
}
__device__ __forceinline__ void bulk_copy(uint32_t dst, const void* src, uint32_t bytes, uint32_t bar) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];\n" ::"r"(dst),
               "l"(src), "r"(bytes), "r"(bar)
               : "memory");
}
// Boxes of activations: 64 channels of some rows, for one or more groups of 64 channels.
__device__ __forceinline__ void tensor3(uint32_t dst, const void* map, int x, int box, uint32_t bar) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], "
      "[%5];\n" ::"r"(dst),
      "l"(map), "r"(0), "r"(x), "r"(box), "r"(bar)
      : "memory");
}
__device__ __forceinline__ void tensor4(uint32_t dst, const void* map, int y, int box, uint32_t bar) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], "
      "[%6];\n" ::"r"(dst),
      "l"(map), "r"(0), "r"(0), "r"(y), "r"(box), "r"(bar)
      : "memory");
}
// A cluster's blocks: this one's number, an address of another one's shared memory, stores into it that its barrier
// counts.
__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;\n" : "=r"(rank));
  return rank;
}
__device__ __forceinline__ uint32_t of_peer(uint32_t addr, uint32_t rank) {
  uint32_t remote;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;\n" : "=r"(remote) : "r"(addr), "r"(rank));
  return remote;
}
__device__ __forceinline__ void send(uint32_t to, const uint4 v, uint32_t bar) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];\n" ::"r"(to),
      "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "r"(bar)
      : "memory");
}
__device__ __forceinline__ void send(uint32_t to, const uint2 v, uint32_t bar) {
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%0], {%1, %2}, [%3];\n" ::"r"(to),
               "r"(v.x), "r"(v.y), "r"(bar)
               : "memory");
}
__device__ __forceinline__ void copy_to_peer(uint32_t to, uint32_t from, uint32_t bytes, uint32_t bar) {
  asm volatile(
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];\n" ::"r"(to),
      "r"(from), "r"(bytes), "r"(bar)
      : "memory");
}
// This thread's copies to peers no longer need what they were made from.
__device__ __forceinline__ void wait_until_read() {
  asm volatile("cp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;\n" ::: "memory");
}
__device__ __forceinline__ void put(uint32_t to, const uint4 v) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};\n" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}
// Nobody leaves before the last may have written to its shared memory.
__device__ __forceinline__ void leave_cluster() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;\n" ::: "memory");
}
// What ordinary stores left in shared memory may be overwritten by the copy engine.
__device__ __forceinline__ void shared_fence() { asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory"); }
// What ordinary stores left in device memory may be read by the copy engine.
__device__ __forceinline__ void global_fence() { asm volatile("fence.proxy.async.global;\n" ::: "memory"); }
#else
constexpr int kFullArrivals = 64;  // every lane for the weights, every lane for the activations
__device__ __forceinline__ void copy16(uint32_t dst, const void* src, bool exists) {
  const int bytes = exists ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(dst), "l"(src), "r"(bytes) : "memory");
}
// This lane arrives once its copies so far are there.
__device__ __forceinline__ void copies_arrive(uint32_t bar) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];\n" ::"r"(bar) : "memory");
}
__device__ __forceinline__ void shared_fence() {}
__device__ __forceinline__ void global_fence() {}
#endif
__device__ __forceinline__ void ldsm4(uint32_t (&r)[4], uint32_t addr) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(addr));
}
__device__ __forceinline__ uint4 lds128(uint32_t addr) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];\n" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(addr));
  return v;
}
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Its fragments have byte for byte the layout of the one above.
__device__ __forceinline__ void mma(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ uint32_t bits(float v) { return __float_as_uint(v); }
__device__ __forceinline__ uint32_t bits(int v) { return static_cast<uint32_t>(v); }
// Four values to the nearest int8 each, saturated.
__device__ __forceinline__ uint32_t to_int8(const float4 v) {
  uint32_t high, all;
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, 0;\n" : "=r"(high) : "r"(__float2int_rn(v.w)), "r"(__float2int_rn(v.z)));
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, %3;\n"
      : "=r"(all)
      : "r"(__float2int_rn(v.y)), "r"(__float2int_rn(v.x)), "r"(high));
  return all;
}
__device__ __forceinline__ float4 from_int8(uint32_t v) {
  return make_float4(static_cast<int8_t>(v), static_cast<int8_t>(v >> 8), static_cast<int8_t>(v >> 16),
                     static_cast<int8_t>(v >> 24));
}

#ifdef TRACE
#define STAMP(i)                                                                               \
  do {                                                                                         \
    if (net.trace && (threadIdx.x & 31) == 0 && (threadIdx.x == 0 || threadIdx.x == kThreads)) \
      net.trace[(static_cast<size_t>(phase) * gridDim.x + blockIdx.x) * 16 + (i)] = clock64(); \
  } while (0)
// A stamp that is set once more in the same phase is kept under another number.
#define KEEP_STAMP(i, as)                                                                        \
  do {                                                                                           \
    if (net.trace && (threadIdx.x & 31) == 0 && (threadIdx.x == 0 || threadIdx.x == kThreads)) { \
      long long* at = net.trace + (static_cast<size_t>(phase) * gridDim.x + blockIdx.x) * 16;    \
      at[as] = at[i];                                                                            \
    }                                                                                            \
  } while (0)
#else
#define STAMP(i)
#define KEEP_STAMP(i, as)
#endif

}  // namespace ferry::latency
