// The whole of a ResNet as one persistent kernel (docs/latency-engine.md).
//
// A phase is a layer. Every block takes a tile of it, then the grid meets. Eight warps of a block multiply, splitting K
// among them; the ninth feeds them: it starts the weights of the next phase while this one is multiplied, says that the
// block is done, waits for the grid and only then starts the activations.
#pragma once
#include <cuda_fp16.h>

#include <type_traits>

#include "cuda/phases.h"

// Compute capability 9.0 and later copy with the bulk engine; before, the feeding warp copies by cp.async, 16 bytes a
// lane.
#if !defined(FERRY_NO_BULK) && (!defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900)
#define FERRY_BULK 1
#endif

namespace ferry::latency {

// ---- instructions -----------------------------------------------------------------------------------------------
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
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
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
#else
#define STAMP(i)
#endif

// ---- shared memory ----------------------------------------------------------------------------------------------
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

// ---- meeting points ---------------------------------------------------------------------------------------------
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

// ---- tiles ------------------------------------------------------------------------------------------------------
__device__ __forceinline__ int tile_m(const ConvDesc& c) { return 16 << (c.wm + (c.cfg >> 2)); }
__device__ __forceinline__ int tile_n(const ConvDesc& c) { return 1 << c.tn; }

struct Tile {
  const ConvDesc* c;
  int index, m, n;  // tiles along N lie next to each other: a cluster's blocks share activations
};
__device__ __forceinline__ Tile find_tile(const Net& net, const Phase& ph, int t) {
  Tile r;
  const int which = t >= ph.tiles0;
  r.c = conv_table(net) + ph.conv[which];
  r.index = which ? t - ph.tiles0 : t;
  r.m = divide(r.index, r.c->by_nt);
  r.n = r.index - r.m * r.c->nt;
  return r;
}

// First pixel (or row) that a tile reads.
__device__ __forceinline__ int first_pixel(const ConvDesc& c, int m0) {
  const int y = divide(m0, c.by_ow);
  if (c.kind == kConv1x1) return c.stride == 1 ? m0 : y * c.OW;
  return c.stride == 1 ? m0 - c.W - 1 : (y * 2 - 1) * c.W;
}

// ---- the ninth warp ---------------------------------------------------------------------------------------------
// Everything about an item's activations that is known before they may be read.
struct Ready {
  const void* map;
  uint32_t dst, bar;
  int x, box, loads;
};

struct Feeder {
  const Net& net;
  const Shared s;
  int lane;
  uint32_t used, parity;  // a bit a stack: it has been in use; of its next "empty"
  int at;                 // the item that `ready` is about, or -1
  uint32_t last;          // bytes of the last item's stack
  Ready ready;

  // Starts an item's weights and makes its activations ready to go.
  __device__ __forceinline__ void prepare(const Tile& t, int pass, int item) {
    const int slot = item & 1;
    const ConvDesc& c = *t.c;
    if (used >> slot & 1) {
      mbar_wait(net, head() + kEmpty + slot * 8, parity >> slot & 1);
      parity ^= 1u << slot;
    }
    // Where two stacks do not fit, the one before must have been given back.
    if ((used >> (slot ^ 1) & 1) && last + c.stack > s.high - s.low)
      mbar_wait(net, head() + kEmpty + (slot ^ 1) * 8, parity >> (slot ^ 1) & 1);
    last = c.stack;
    used |= 1u << slot;
    at = item;
    const int taps = c.kind == kConv3x3 ? 9 : c.kind == kConv1x1 ? 1 : 7;
    const uint32_t bytes = (c.kind == kStem ? 1 : c.boxes * 2) * taps * tile_n(c) * 64;
    const uint32_t bar = head() + kFull + slot * 8, stack = s.stack(item, c);
    const char* from = net.weights + c.weights + static_cast<size_t>(t.n * c.passes + pass) * bytes;
#ifdef FERRY_BULK
    if (lane) return;
    mbar_expect(bar, bytes);
    bulk_copy(stack, from, bytes, bar);
#else
#pragma unroll 4
    for (uint32_t i = lane * 16; i < bytes; i += 512) copy16(stack + i, from + i, true);
    copies_arrive(bar);
#endif
    ready.loads = 0;
    if (c.kind == kStem) {
      mbar_arrive(bar);
      return;
    }
    const int m0 = t.m * tile_m(c);
    ready.map = net.maps + c.map * 128;
    ready.dst = stack + c.a_off;
    ready.bar = bar;
    ready.box = pass * c.boxes;
    ready.x = strided(c) ? divide(m0, c.by_ow) : first_pixel(c, m0);
    ready.loads = c.span == c.boxes && c.chunks == 1 && !strided(c) ? 1 : 2;
#ifdef FERRY_BULK
    mbar_expect(bar, c.boxes * c.chunks * c.rows * c.width * 128);
    asm volatile("prefetch.tensormap [%0];\n" ::"l"(ready.map) : "memory");
#endif
  }

#ifndef FERRY_BULK
  // As the copy engine would: a row's eight pieces exchange places by the row's number; what lies outside is zero.
  __device__ __forceinline__ void load_a(const ConvDesc& c) {
    if (ready.loads == 0) return;
    const bool every_second = strided(c);
    const int pixels = c.M / (c.OH * c.OW) * c.H * c.W, rows = c.chunks * c.rows * c.width, q = lane & 7;
    const char* in = net.arena + c.in + ready.box * 128 + q * 16;
    for (int r = lane >> 3; r < rows; r += 4) {
      int pixel = ready.x + r;
      if (every_second) {
        const int y = divide(r, c.by_ow);
        pixel = (ready.x + y) * 2 * c.W + (r - y * c.OW) * 2;
      }
      const bool exists = pixel >= 0 && pixel < pixels;
      const char* src = in + static_cast<size_t>(exists ? pixel : 0) * c.C * 2;
      uint32_t dst = ready.dst + r * 128;
      for (int box = 0; box < c.boxes; ++box, dst += c.box_bytes)
        copy16(dst + ((q ^ (r & 7)) << 4), src + box * 128, exists);
    }
    copies_arrive(ready.bar);
  }
#else
  __device__ __forceinline__ void load_a(const ConvDesc& c) {
    if (lane) return;
    if (ready.loads == 1) {
      tensor3(ready.dst, ready.map, ready.x, ready.box, ready.bar);
      return;
    }
    uint32_t dst = ready.dst;
    if (ready.loads == 0) return;
    for (int box = 0; box < c.boxes; box += c.span, dst += c.span * c.box_bytes)
      for (int chunk = 0; chunk < c.chunks; ++chunk) {
        if (strided(c))
          tensor4(dst, ready.map, ready.x, ready.box + box, ready.bar);
        else
          tensor3(dst + chunk * c.rows * 128, ready.map, ready.x + chunk * c.rows, ready.box + box, ready.bar);
      }
  }
#endif

  // Weights of a later phase: from device memory into L2, each block its own share.
  __device__ __forceinline__ void prefetch_l2(const Phase& ph) {
    if (lane || ph.weight_bytes == 0) return;
    const uint32_t total = static_cast<uint32_t>(ph.weight_bytes),
                   share = ((total + gridDim.x - 1) / gridDim.x + 127) & ~127u, at = share * blockIdx.x;
    if (at >= total) return;
#ifdef FERRY_BULK
    const uint32_t bytes = min(share, total - at) & ~15u;
    if (bytes)
      asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;\n" ::"l"(net.weights + ph.weights + at), "r"(bytes)
                   : "memory");
#else
    for (uint32_t i = at; i < min(at + share, total); i += 128)
      asm volatile("prefetch.global.L2 [%0];\n" ::"l"(net.weights + ph.weights + i) : "memory");
#endif
  }

  // The block's first item of a phase, if it has one.
  __device__ __forceinline__ void first(const Phase& ph) {
    if (ph.kind != kPhaseConv || static_cast<int>(blockIdx.x) >= ph.tiles || at == ph.item0) return;
    prepare(find_tile(net, ph, blockIdx.x), 0, ph.item0);
  }

  // The first item is ready and may go.
  __device__ __forceinline__ void conv_items(const Phase& ph) {
    int item = ph.item0;
    const int which = static_cast<int>(blockIdx.x) >= ph.tiles0;
    load_a(conv_table(net)[ph.conv[which]]);
    if (static_cast<int>(gridDim.x) >= ph.tiles && ph.per_tile == 1) return;
#pragma unroll 1
    for (int t = blockIdx.x; t < ph.tiles; t += gridDim.x, item += ph.per_tile) {
      const Tile tile = find_tile(net, ph, t);
#pragma unroll 1
      for (int pass = 0; pass < tile.c->passes; ++pass) {
        if (item + pass == ph.item0) continue;
        prepare(tile, pass, item + pass);
        load_a(*tile.c);
      }
    }
  }
};

__device__ __forceinline__ bool has_work(const Phase& ph) {
  return ph.kind != kPhaseConv || static_cast<int>(blockIdx.x) < ph.tiles;
}

__device__ __forceinline__ void tell_time(const Net& net, int p, int lane) {
  if (net.clocks != nullptr && blockIdx.x == 0 && lane == 0) net.clocks[p] = clock64();
}

__device__ __forceinline__ void feed(const Net& net, const Shared s) {
  const int lane = threadIdx.x & 31, shard = blockIdx.x % kShards;
  Feeder f{net, s, lane, 0, 0, -1, 0, {}};
  constexpr int kL2Ahead = 3;
  unsigned target = lane < kShards ? *reinterpret_cast<volatile unsigned*>(net.counter + lane * kShardStride + 32) : 0;
  const unsigned members = lane < kShards ? (gridDim.x - lane + kShards - 1) / kShards * kWarps : 0;
  for (int p = 0; p < kL2Ahead && p < net.count; ++p) f.prefetch_l2(phase_table()[p]);
#pragma unroll 1
  for (int p = 0; p < net.count; ++p) {
    const Phase& ph = phase_table()[p];
    const int phase = p;
    bool ok = true;
    if (p > 0) {
      if (has_work(phase_table()[p - 1]))
        bar_sync(kDone, kBlock);
      else if (lane == 0)
        grid_arrive(net, kWarps);
      target += members;
      STAMP(9);
      f.first(ph);
      ok = grid_wait(net, target, lane);
      global_fence();
    } else {
      f.first(ph);
    }
    STAMP(10);
    tell_time(net, p, lane);
    if (!ok) *reinterpret_cast<volatile int*>(smem + kFailed) = 1;
    if (ph.kind != kPhaseConv) bar_arrive(kGo, kBlock);
    if (!ok) return;
    if (ph.kind == kPhaseConv && has_work(ph)) f.conv_items(ph);
    STAMP(11);
    if (p + 1 < net.count) f.first(phase_table()[p + 1]);
    if (p + kL2Ahead < net.count) f.prefetch_l2(phase_table()[p + kL2Ahead]);
  }
  if (has_work(phase_table()[net.count - 1])) bar_sync(kDone, kBlock);
  tell_time(net, net.count, lane);
  // the last phase arrives too; the last block of a shard to do so leaves the next launch its starting value
  target += members;
  const unsigned mine = __shfl_sync(~0u, target, shard);
  unsigned* counter = net.counter + shard * kShardStride;
  if (lane == 0 && atomicAdd(counter, static_cast<unsigned>(kWarps)) + kWarps == mine) counter[32] = mine;
}

// ---- multiplying ------------------------------------------------------------------------------------------------
// stem: fp32 NCHW -> half [row][W+8][4], zero padded; row r of the padded image is input row r - 3, column x is x - 4
__device__ __forceinline__ void load_stem(const Net& net, const ConvDesc& c, int m0, int last, uint32_t a) {
  const int plane = c.H * c.W, width = c.W + 8, gy = divide(m0, c.by_ow), image = divide(gy, c.by_oh),
            y0 = 2 * (gy - image * c.OH), rows = 2 * (divide(last, c.by_ow) - gy) + 7, total = rows * width;
  const float* in = net.input + static_cast<size_t>(image) * 3 * plane;
  constexpr int kBatch = 4;
#pragma unroll 1
  for (int i0 = threadIdx.x; i0 < total; i0 += kThreads * kBatch) {
    float v[kBatch][3];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int i = i0 + b * kThreads, r = i / width, x = i - r * width, y = y0 + r - 3, xx = x - 4;
      const bool ok = i < total && y >= 0 && y < c.H && xx >= 0 && xx < c.W;
      const float* p = in + (ok ? y * c.W + xx : 0);
#pragma unroll
      for (int q = 0; q < 3; ++q) v[b][q] = ok ? __ldg(p + q * plane) : 0.f;
    }
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int i = i0 + b * kThreads;
      __half2 lo = __floats2half2_rn(v[b][0], v[b][1]), hi = __floats2half2_rn(v[b][2], 0.f);
      if (i < total)
        asm volatile("st.shared.v2.u32 [%0], {%1, %2};\n" ::"r"(a + i * 8), "r"(*reinterpret_cast<uint32_t*>(&lo)),
                     "r"(*reinterpret_cast<uint32_t*>(&hi))
                     : "memory");
    }
  }
}

// The pixel a lane addresses for each of its warp's fragments: its row in the stack, and which taps lie in the image.
struct Rows {
  int slot[2];
  uint32_t valid[2];
};

__device__ __forceinline__ void find_row(const ConvDesc& c, int m0, int x0, int m, int& slot, uint32_t& valid) {
  const bool in = m < c.M;
  slot = 0;
  valid = 0;
  if (!in) return;
  valid = 1;
  slot = m - x0;
  if (c.kind == kConv1x1) return;
  const int gy = divide(m, c.by_ow), x = m - gy * c.OW;
  if (c.kind == kStem) {
    slot = 2 * (gy - divide(m0, c.by_ow)) * (c.W + 8) + 2 * x;  // in units of 8 bytes
    return;
  }
  const int y = gy - divide(gy, c.by_oh) * c.OH, cy = y * c.stride, cx = x * c.stride;
  slot = gy * c.stride * c.W + cx - x0;
  const uint32_t xs = (cx > 0 ? 1u : 0u) | 2u | (cx + 1 < c.W ? 4u : 0u);
  valid = (cy > 0 ? xs : 0) | xs << 3 | (cy + 1 < c.H ? xs << 6 : 0);
}

__device__ __forceinline__ void find_rows(const ConvDesc& c, int m0, int lane, Rows& r) {
  const int wm = (threadIdx.x >> 5) >> (c.wk + c.wn), x0 = c.kind == kStem ? 0 : first_pixel(c, m0);
#pragma unroll
  for (int i = 0; i < 2; ++i)
    find_row(c, m0, x0, m0 + ((wm << (c.cfg >> 2)) + i) * 16 + (lane & 15), r.slot[i], r.valid[i]);
}

template <int MF, int NF>
struct Frags {
  uint32_t a[MF][2][4];
  uint4 b[NF];
};

template <int MF, int NF>
__device__ __forceinline__ void load_frags(const uint32_t (&a)[MF], uint32_t b, Frags<MF, NF>& f) {
#pragma unroll
  for (int i = 0; i < MF; ++i) {
    ldsm4(f.a[i][0], a[i]);
    ldsm4(f.a[i][1], a[i] ^ 32);
  }
#pragma unroll
  for (int j = 0; j < NF; ++j) f.b[j] = lds128(b + j * 512);
}

template <int MF, int NF, typename Sum>
__device__ __forceinline__ void multiply(const Frags<MF, NF>& f, Sum (&acc)[MF][NF][4]) {
#pragma unroll
  for (int i = 0; i < MF; ++i)
#pragma unroll
    for (int j = 0; j < NF; ++j) mma(acc[i][j], f.a[i][0], f.b[j].x, f.b[j].y);
#pragma unroll
  for (int i = 0; i < MF; ++i)
#pragma unroll
    for (int j = 0; j < NF; ++j) mma(acc[i][j], f.a[i][1], f.b[j].z, f.b[j].w);
}

template <int MF, int NF>
__device__ __forceinline__ void mma_stem(const ConvDesc& c, const Rows& r, uint32_t a, uint32_t b, uint32_t zero,
                                         int lane, float (&acc)[MF][NF][4]) {
  const uint32_t half = (lane >> 4) * 16, step = 64 << c.tn;
#pragma unroll 1
  for (int tap = 0; tap < 7; ++tap, b += step) {
    Frags<MF, NF> f;
#pragma unroll
    for (int i = 0; i < MF; ++i) {
      const uint32_t at = r.valid[i] ? a + (r.slot[i] + tap * (c.W + 8)) * 8 + half : zero;
      ldsm4(f.a[i][0], at);
      ldsm4(f.a[i][1], r.valid[i] ? at + 32 : zero);
    }
#pragma unroll
    for (int j = 0; j < NF; ++j) f.b[j] = lds128(b + j * 512);
    multiply(f, acc);
  }
}

// A warp's part of K: whole boxes of 128 bytes, or half of one. Fragments are loaded a step ahead where registers
// allow it: spilling would cost more.
template <int MF, int NF>
constexpr bool kStepAhead = MF* NF < 8;

template <int MF, int NF, typename Sum>
__device__ __forceinline__ void mma_1x1(uint32_t (&a)[MF], uint32_t b, int boxes, uint32_t box_bytes, uint32_t step,
                                        Sum (&acc)[MF][NF][4]) {
  Frags<MF, NF> f;
  load_frags<MF, NF>(a, b, f);
  if (boxes == 0) {
    multiply(f, acc);
    return;
  }
#pragma unroll 1
  for (;;) {
    uint32_t other[MF];
#pragma unroll
    for (int i = 0; i < MF; ++i) other[i] = a[i] ^ 64, a[i] += box_bytes;
    if constexpr (kStepAhead<MF, NF>) {
      Frags<MF, NF> g;
      load_frags<MF, NF>(other, b + step, g);
      b += 2 * step;
      multiply(f, acc);
      if (--boxes > 0) load_frags<MF, NF>(a, b, f);
      multiply(g, acc);
    } else {
      multiply(f, acc);
      load_frags<MF, NF>(other, b + step, f);
      b += 2 * step;
      multiply(f, acc);
      if (--boxes > 0) load_frags<MF, NF>(a, b, f);
    }
    if (boxes == 0) return;
  }
}

// Nine taps of 64 bytes.
template <int MF, int NF, typename Sum>
__device__ __forceinline__ void mma_3x3(const Rows& r, uint32_t a, uint32_t half, uint32_t zero, int W, uint32_t b,
                                        uint32_t step, Sum (&acc)[MF][NF][4]) {
  constexpr int kBuffers = kStepAhead<MF, NF> ? 2 : 1;
  Frags<MF, NF> f[kBuffers];
  auto load = [&](int tap, Frags<MF, NF>& to) {
    uint32_t at[MF];
#pragma unroll
    for (int i = 0; i < MF; ++i) {
      const uint32_t slot = r.slot[i] + (tap / 3 - 1) * W + (tap % 3 - 1);
      at[i] = a + slot * 128 + (((slot & 7) << 4) ^ half);
      if (!((r.valid[i] >> tap) & 1)) at[i] = zero;
    }
    load_frags<MF, NF>(at, b + tap * step, to);
  };
  load(0, f[0]);
#pragma unroll
  for (int tap = 0; tap < 9; ++tap) {
    if (kBuffers == 2 && tap < 8) load(tap + 1, f[(tap + 1) % kBuffers]);
    multiply(f[tap % kBuffers], acc);
    if (kBuffers == 1 && tap < 8) load(tap + 1, f[0]);
  }
}

// A thread's residuals, four channels each: where, how far apart, how many.
constexpr int kTurns = 4;
template <bool INT8>
struct Residual {
  using Four = std::conditional_t<INT8, uint32_t, uint2>;
  uint32_t from;
  int step, count;
  Four v[kTurns];
  __device__ __forceinline__ void next(const char* arena) {
    count -= kTurns;
    from += kTurns * step;
    load(arena);
  }
  __device__ __forceinline__ void load(const char* arena) {
#pragma unroll
    for (int q = 0; q < kTurns; ++q)
      if (q < count) v[q] = __ldcg(reinterpret_cast<const Four*>(arena + from + q * step));
  }
};

// Accumulates a tile over its passes, then leaves every warp's part in shared memory; false: given up.
template <int MF, int NF, int KIND, bool INT8>
__device__ __forceinline__ bool compute(const Net& net, const Shared s, const ConvDesc& c, const Rows& rows, int item,
                                        uint32_t& parity, Residual<INT8>& residual, int phase) {
  using Sum = std::conditional_t<INT8 && KIND != kStem, int, float>;
  Sum acc[MF][NF][4];
#pragma unroll
  for (int i = 0; i < MF; ++i)
#pragma unroll
    for (int j = 0; j < NF; ++j)
#pragma unroll
      for (int q = 0; q < 4; ++q) acc[i][j][q] = 0;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, passes = c.passes;
  const int wk = warp & ((1 << c.wk) - 1), wn = (warp >> c.wk) & ((1 << c.wn) - 1);
  const uint32_t half = (lane >> 4) * 16, step = 64 << c.tn, zero = head();
  const int slices = KIND == kStem ? 1 : max(1, (c.boxes * 2) >> c.wk), slice0 = wk * slices;
  const uint32_t b0 = (wn * NF * 32 + lane) * 16 + slice0 * (KIND == kConv3x3 ? 9 : 1) * step;
  const uint32_t box_bytes = c.box_bytes, a_off = c.a_off;
  const int W = c.W;
  // the two stacks' addresses
  const uint32_t low = s.low, high = s.high - c.stack;
  const int ld = (1 << c.tn) + 8;  // words; four rows land in different banks
  const int wm = warp >> (c.wk + c.wn), row = (((wk << c.wm) + wm) * MF * 16) + (lane >> 2);
  const uint32_t red_off = (row * ld + wn * NF * 8 + (lane & 3) * 2) * 4;
  uint32_t base = 0;
#pragma unroll 1
  for (int pass = 0;; ++pass, ++item) {
    const int slot = item & 1;
    base = slot ? high : low;
    uint32_t a[MF];
    if constexpr (KIND == kConv1x1)
#pragma unroll
      for (int i = 0; i < MF; ++i)
        a[i] = base + a_off + (slice0 >> 1) * box_bytes + rows.slot[i] * 128 +
               ((((rows.slot[i] & 7) << 4) ^ half) ^ ((slice0 & 1) << 6));
    if (!mbar_wait(net, head() + kFull + slot * 8, (parity >> slot) & 1)) return false;
    if (pass == 0) {
      STAMP(1);
      residual.load(net.arena);
    }
    parity ^= 1u << slot;
    if constexpr (KIND == kStem) {
      mma_stem<MF, NF>(c, rows, base + a_off, base + b0, zero, lane, acc);
    } else if constexpr (KIND == kConv1x1) {
      mma_1x1<MF, NF>(a, base + b0, slices >> 1, box_bytes, step, acc);
    } else {
#pragma unroll 1
      for (int sl = 0; sl < slices; ++sl)
        mma_3x3<MF, NF>(rows, base + a_off + ((slice0 + sl) >> 1) * box_bytes, half ^ (((slice0 + sl) & 1) << 6), zero,
                        W, base + b0 + sl * 9 * step, step, acc);
    }
    if (pass + 1 == passes) break;
    __syncwarp();
    if (lane == 0) mbar_arrive(head() + kEmpty + slot * 8);
  }
  STAMP(6);
  team_sync();  // everyone has read the activations: their place takes the partial sums
  uint32_t* red = reinterpret_cast<uint32_t*>(smem + (base + a_off + red_off - head()));
#pragma unroll
  for (int i = 0; i < MF; ++i)
#pragma unroll
    for (int j = 0; j < NF; ++j) {
      *reinterpret_cast<uint2*>(red + i * 16 * ld + j * 8) = make_uint2(bits(acc[i][j][0]), bits(acc[i][j][1]));
      *reinterpret_cast<uint2*>(red + (i * 16 + 8) * ld + j * 8) = make_uint2(bits(acc[i][j][2]), bits(acc[i][j][3]));
    }
  return true;
}

// What a thread's four channels get: they are the same every turn.
struct Factors {
  float4 bias, scale;  // scale: of the sums, in an INT8 network
};
__device__ __forceinline__ void add(float4& a, const float4 u) {
  a.x += u.x;
  a.y += u.y;
  a.z += u.z;
  a.w += u.w;
}
__device__ __forceinline__ void add(int4& a, const int4 u) {
  a.x += u.x;
  a.y += u.y;
  a.z += u.z;
  a.w += u.w;
}
__device__ __forceinline__ void add_scaled(float4& a, const float4 u, const float4 by) {
  a.x += u.x * by.x;
  a.y += u.y * by.y;
  a.z += u.z * by.z;
  a.w += u.w * by.w;
}

// Adds the warps' parts of four channels to `a`.
template <typename Four>
__device__ __forceinline__ void add_parts(Four& a, const char* part, int parts, int plane) {
  if (parts >= 4) {
#pragma unroll 1
    for (int k = 0; k < parts; k += 4, part += 4 * plane) {
      Four u[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) u[e] = *reinterpret_cast<const Four*>(part + e * plane);
#pragma unroll
      for (int e = 0; e < 4; ++e) add(a, u[e]);
    }
  } else {
    add(a, *reinterpret_cast<const Four*>(part));
    if (parts == 2) add(a, *reinterpret_cast<const Four*>(part + plane));
  }
}

__device__ __forceinline__ void store_half(char* to, const float4 a, bool relu) {
  __half2 lo = __floats2half2_rn(a.x, a.y), hi = __floats2half2_rn(a.z, a.w);
  if (relu) lo = __hmax2_nan(lo, __float2half2_rn(0.f)), hi = __hmax2_nan(hi, __float2half2_rn(0.f));
  *reinterpret_cast<uint2*>(to) =
      make_uint2(*reinterpret_cast<const uint32_t*>(&lo), *reinterpret_cast<const uint32_t*>(&hi));
}

// Four channels a thread and turn: sums the warps' parts, adds bias and residual, clips, stores.
template <bool INT8>
__device__ __forceinline__ void finish(const Net& net, const ConvDesc& c, uint32_t base, int at, int pieces,
                                       const Factors& f, Residual<INT8>& residual) {
  const int shift = c.tn - 2, row = threadIdx.x >> shift, col = (threadIdx.x & ((1 << shift) - 1)) * 4,
            ld = (1 << c.tn) + 8, turn = kThreads >> shift, plane = tile_m(c) * ld * 4, wk = 1 << c.wk,
            red_step = turn * ld * 4;
  const bool relu = c.relu, to_halves = !INT8 || (c.flags & kInt8Out) == 0;
  const char* red = smem + (base + c.a_off + (row * ld + col) * 4 - head());
  char* to = net.arena + c.out + at;
  const int step = INT8 ? turn * out_pitch(c) * (to_halves ? 2 : 1) : turn * c.N * 2;
#pragma unroll 1
  for (int i0 = threadIdx.x; i0 < pieces; i0 += kThreads * kTurns) {
    if (i0 >= kThreads * kTurns) residual.next(net.arena);
#pragma unroll
    for (int q = 0; q < kTurns; ++q) {
      if (i0 + q * kThreads >= pieces) break;
      float4 a = f.bias;
      if constexpr (INT8) {
        if (c.kind == kStem) {  // its products are of float16, and it does not split K
          add_scaled(a, *reinterpret_cast<const float4*>(red), f.scale);
        } else {
          int4 sum = make_int4(0, 0, 0, 0);
          add_parts(sum, red, wk, plane);
          add_scaled(a, make_float4(sum.x, sum.y, sum.z, sum.w), f.scale);
        }
        const float factor = c.residual_factor;
        if (q < residual.count)
          add_scaled(a, from_int8(residual.v[q]), make_float4(factor, factor, factor, factor));
        if (to_halves) {
          store_half(to, a, relu);
        } else {
          if (relu) a = make_float4(fmaxf(a.x, 0.f), fmaxf(a.y, 0.f), fmaxf(a.z, 0.f), fmaxf(a.w, 0.f));
          *reinterpret_cast<uint32_t*>(to) = to_int8(a);
        }
      } else {
        if (q < residual.count) {
          const float2 f0 = __half22float2(*reinterpret_cast<const __half2*>(&residual.v[q].x)),
                       f1 = __half22float2(*reinterpret_cast<const __half2*>(&residual.v[q].y));
          add(a, make_float4(f0.x, f0.y, f1.x, f1.y));
        }
        add_parts(a, red, wk, plane);
        store_half(to, a, relu);
      }
      red += red_step;
      to += step;
    }
  }
}

template <bool INT8>
__device__ __forceinline__ bool conv_tile(const Net& net, const Shared s, const Tile& t, int item, uint32_t& parity,
                                          int phase) {
  const ConvDesc& c = *t.c;
  const int TM = tile_m(c), lane = threadIdx.x & 31;
  int m0 = t.m * TM, last = min(m0 + TM, c.M) - 1;
  if (c.kind == kStem) {  // a tile stays in its image
    const int plane = c.OH * c.OW, per = c.mt / (c.M / plane), image = t.m / per;
    m0 = image * plane + (t.m - image * per) * TM;
    last = min(m0 + TM, (image + 1) * plane) - 1;
  }
  const int n0 = t.n << c.tn, shift = c.tn - 2, row = threadIdx.x >> shift,
            col = (threadIdx.x & ((1 << shift) - 1)) * 4;
  Factors factors;
  factors.bias = __ldg(reinterpret_cast<const float4*>(net.weights + c.bias + (n0 + col) * 4));
  const int pieces = (last - m0 + 1) << shift;
  int at;
  Residual<INT8> residual;
  if constexpr (INT8) {
    factors.scale = __ldg(reinterpret_cast<const float4*>(net.weights + c.bias + (c.N + n0 + col) * 4));
    at = ((m0 + row) * out_pitch(c) + n0 + col) * (c.flags & kInt8Out ? 1 : 2);
    residual.from = c.residual + (m0 + row) * int8_pitch(c.N) + n0 + col;
    residual.step = (kThreads >> shift) * int8_pitch(c.N);
  } else {
    at = ((m0 + row) * c.N + n0 + col) * 2;
    residual.from = c.residual + at;
    residual.step = (kThreads >> shift) * c.N * 2;
  }
  residual.count = c.residual == kNone ? 0 : (pieces - static_cast<int>(threadIdx.x) + kThreads - 1) / kThreads;
  Rows rows;
  find_rows(c, m0, lane, rows);
  STAMP(0);
  if (c.kind == kStem) {
    load_stem(net, c, m0, last, s.stack(item, c) + c.a_off);
    team_sync();
  }
  bool ok = true;
#define FERRY_CASE(n, MF, NF)                                                       \
  case n:                                                                           \
    ok = compute<MF, NF, kConv1x1, INT8>(net, s, c, rows, item, parity, residual, phase); \
    break;                                                                          \
  case 8 + n:                                                                       \
    ok = compute<MF, NF, kConv3x3, INT8>(net, s, c, rows, item, parity, residual, phase); \
    break
  switch (c.kind == kStem ? 16 + (c.cfg == 1) : c.cfg + 8 * c.kind) {  // (log2 MF) * 4 + log2 NF
    FERRY_CASE(0, 1, 1);
    FERRY_CASE(1, 1, 2);
    FERRY_CASE(2, 1, 4);
    FERRY_CASE(4, 2, 1);
    FERRY_CASE(5, 2, 2);
    FERRY_CASE(6, 2, 4);
    case 16:
      ok = compute<2, 4, kStem, INT8>(net, s, c, rows, item, parity, residual, phase);
      break;
    case 17:  // where shared memory is small
      ok = compute<1, 2, kStem, INT8>(net, s, c, rows, item, parity, residual, phase);
      break;
  }
#undef FERRY_CASE
  if (!ok) return false;
  shared_fence();  // the copy engine will overwrite the parts
  STAMP(2);
  team_sync();
  STAMP(3);
  const int final_item = item + c.passes - 1;
  finish<INT8>(net, c, s.stack(final_item, c), at, pieces, factors, residual);
  __syncwarp();
  if (lane == 0) mbar_arrive(head() + kEmpty + (final_item & 1) * 8);
  STAMP(4);
  return true;
}

// ---- the other phases -------------------------------------------------------------------------------------------
template <bool INT8>
__device__ __noinline__ void max_pool(const Net& net, const Phase& p) {
  const int OH = (p.H + 1) / 2, OW = (p.W + 1) / 2, units = p.C / 8, total = p.batch * OH * OW * units;
  const uint4* in = reinterpret_cast<const uint4*>(net.arena + p.in);
  uint4* out = reinterpret_cast<uint4*>(net.arena + p.out);
  for (int i = blockIdx.x * kThreads + threadIdx.x; i < total; i += gridDim.x * kThreads) {
    const int u = i % units, m = i / units, gy = m / OW, x = m % OW, y = gy % OH, image = gy / OH;
    uint4 v[9];
#pragma unroll
    for (int t = 0; t < 9; ++t) {  // a tap outside reads the centre
      const int iy = 2 * y + t / 3 - 1, ix = 2 * x + t % 3 - 1;
      const bool ok = iy >= 0 && iy < p.H && ix >= 0 && ix < p.W;
      v[t] =
          __ldcg(in + static_cast<size_t>(image * p.H * p.W + (ok ? iy * p.W + ix : 2 * y * p.W + 2 * x)) * units + u);
    }
    if constexpr (INT8) {
#pragma unroll
      for (int t = 1; t < 9; ++t)
        v[0] = make_uint4(__vmaxs4(v[0].x, v[t].x), __vmaxs4(v[0].y, v[t].y), __vmaxs4(v[0].z, v[t].z),
                          __vmaxs4(v[0].w, v[t].w));
    } else {
      __half2* best = reinterpret_cast<__half2*>(&v[0]);
#pragma unroll
      for (int t = 1; t < 9; ++t) {
        const __half2* h = reinterpret_cast<const __half2*>(&v[t]);
#pragma unroll
        for (int q = 0; q < 4; ++q) best[q] = __hmax2_nan(best[q], h[q]);
      }
    }
    out[i] = v[0];
  }
}

__device__ __noinline__ void avg_pool(const Net& net, const Phase& p) {
  const int lane = threadIdx.x & 31, warp = blockIdx.x * kWarps + (threadIdx.x >> 5), units = p.C / 8, px = p.H * p.W;
  float* out = reinterpret_cast<float*>(net.arena + p.out);
  for (int u = warp; u < units * p.batch; u += gridDim.x * kWarps) {
    const int image = u / units, unit = u % units;
    const uint4* in = reinterpret_cast<const uint4*>(net.arena + p.in) + static_cast<size_t>(image) * px * units + unit;
    float s[8] = {};
#pragma unroll 1
    for (int m = lane; m < px; m += 32) {
      uint4 v = __ldcg(in + m * units);
      const __half2* h = reinterpret_cast<const __half2*>(&v);
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        float2 f = __half22float2(h[q]);
        s[2 * q] += f.x;
        s[2 * q + 1] += f.y;
      }
    }
#pragma unroll 1
    for (int o = 16; o; o >>= 1)
#pragma unroll
      for (int q = 0; q < 8; ++q) s[q] += __shfl_xor_sync(~0u, s[q], o);
    if (lane == 0)
      for (int q = 0; q < 8; ++q) out[image * p.C + unit * 8 + q] = s[q] / px;
  }
}

__device__ __forceinline__ bool wait_go() {
  bar_sync(kGo, kBlock);
  return *reinterpret_cast<const volatile int*>(smem + kFailed) == 0;
}

// One warp a class. Its weights (2048 at most) are in shared memory before the grid meets, the pooled channels after.
// Little code on purpose: it runs once, so every line of it is fetched from afar.
__device__ __noinline__ bool fully_connected(const Net& net, uint32_t low, const Phase& p) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, units = p.C / 8, classes = p.H;
  char* base = smem + (low - head());
  uint4* w = reinterpret_cast<uint4*>(base + warp * 4096);
  float4* x = reinterpret_cast<float4*>(base + kWarps * 4096);
  bool waited = false;
  for (int row0 = blockIdx.x * kWarps; row0 < classes || !waited; row0 += gridDim.x * kWarps) {
    const int row = min(row0 + warp, classes - 1);
    const uint4* src = reinterpret_cast<const uint4*>(net.weights + p.weights) + static_cast<size_t>(row) * units;
#pragma unroll 4
    for (int u = lane; u < units; u += 32) w[u] = __ldg(src + u);
    const float bias = __ldg(reinterpret_cast<const float*>(net.weights + p.bias) + row);
    if (!waited && !wait_go()) return false;
    waited = true;
#pragma unroll 1
    for (int image = 0; image < p.batch; ++image) {
      team_sync();
#pragma unroll 2
      for (int i = threadIdx.x; i < p.C / 4; i += kThreads)
        x[i] = __ldcg(reinterpret_cast<const float4*>(net.arena + p.in) + image * (p.C / 4) + i);
      team_sync();
      float sum = 0;
#pragma unroll 1
      for (int u = lane; u < units; u += 32) {
        const uint4 v = w[u];
        const float4 x0 = x[2 * u], x1 = x[2 * u + 1];
        const __half2* h = reinterpret_cast<const __half2*>(&v);
        const float2 a = __half22float2(h[0]), b = __half22float2(h[1]), c = __half22float2(h[2]),
                     d = __half22float2(h[3]);
        sum += a.x * x0.x + a.y * x0.y + b.x * x0.z + b.y * x0.w + c.x * x1.x + c.y * x1.y + d.x * x1.z + d.y * x1.w;
      }
      for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
      if (lane == 0 && row0 + warp < classes) net.output[image * classes + row] = sum + bias;
    }
  }
  return true;
}

// ---- the kernel -------------------------------------------------------------------------------------------------
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
