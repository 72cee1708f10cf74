// The whole of a ResNet as one persistent kernel (docs/latency-engine.md).
//
// A phase is a layer. Every block takes a tile of it, then the grid meets. Eight warps of a block compute, splitting K
// among them; the ninth says that the block is done, starts the next phase's weights on their way and waits for the
// grid.
#pragma once
#include <cuda_fp16.h>

#include "cuda/phases.h"

namespace ferry::latency {

__device__ __forceinline__ uint32_t smem_u32(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
__device__ __forceinline__ void cp16(uint32_t dst, const void* src) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" ::"r"(dst), "l"(src) : "memory");
}
__device__ __forceinline__ void cp16z(uint32_t dst, const void* src, bool valid) {
  int n = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(dst), "l"(src), "r"(n) : "memory");
}
__device__ __forceinline__ void cp_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
template <int N>
__device__ __forceinline__ void cp_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
}
// Hopper: the copy engine moves contiguous rows and counts bytes on a barrier in shared memory.
__device__ __forceinline__ void mbar_init(uint32_t bar) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\n" ::"r"(bar) : "memory");
}
__device__ __forceinline__ void mbar_expect(uint32_t bar, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(bar), "r"(bytes) : "memory");
}
__device__ __forceinline__ void bulk_copy(uint32_t dst, const void* src, uint32_t bytes, uint32_t bar) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];\n" ::"r"(dst),
               "l"(src), "r"(bytes), "r"(bar)
               : "memory");
}
__device__ __forceinline__ void mbar_wait(uint32_t bar, uint32_t parity) {
  uint32_t done = 0;
  while (!done)
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }\n"
                 : "=r"(done)
                 : "r"(bar), "r"(parity)
                 : "memory");
}
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

#ifdef TRACE
#define STAMP(i)                                                                              \
  do {                                                                                        \
    if (net.trace && threadIdx.x == 0)                                                        \
      net.trace[(static_cast<size_t>(phase) * gridDim.x + blockIdx.x) * 8 + (i)] = clock64(); \
  } while (0)
#else
#define STAMP(i)
#endif

// ---- meeting points ----------------------------------------------------------------------------------------------
// Named barriers of a block: the compute warps say "done" with a phase, the sync warp says "go" for the next one.
constexpr int kDone = 1, kGo = 2, kTeam = 3;
__device__ __forceinline__ void bar_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void bar_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void team_sync() { bar_sync(kTeam, kThreads); }

__device__ __forceinline__ void grid_arrive(const Net& n) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;\n" ::"l"(n.counter) : "memory");
}
__device__ __forceinline__ bool grid_wait(const Net& n, unsigned target) {
  const long long start = clock64();
  for (;;) {
    unsigned v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];\n" : "=r"(v) : "l"(n.counter) : "memory");
    if (static_cast<int>(v - target) >= 0) return true;
    if (clock64() - start > n.watchdog) {
      atomicExch(n.failed, 1u);
      return false;
    }
  }
}

// ---- loads ------------------------------------------------------------------------------------------------------
struct Pipe {
  uint32_t smem, parity_b;
};

__device__ __forceinline__ int fragments_n(int cfg) { return 1 << (cfg & 3); }
__device__ __forceinline__ int fragments_m(int cfg) { return 1 << (cfg >> 2); }

// Tiles do not cross images; the tiles of an image lie together.
struct TileOf {
  int image, tile;
};
__device__ __forceinline__ TileOf split_tile(const ConvDesc& c, int t) {
  const int per_image = c.mt * c.nt, image = t / per_image;
  return {image, t - image * per_image};
}

// One contiguous copy: a tile's weights of one pass lie together.
__device__ __forceinline__ void load_b(const Net& net, const ConvDesc& c, int tile, int pass, uint32_t smem) {
  const int strips = c.wn * fragments_n(c.cfg), nt = tile / c.mt, bytes = strips * c.k32 * 512;
  const char* src = net.weights + c.weights +
                    (static_cast<size_t>(pass) * (c.N / 8) + static_cast<size_t>(nt) * strips) * c.k32 * 512;
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
  mbar_expect(smem + kBarB, bytes);
  bulk_copy(smem + c.smem_b, src, bytes, smem + kBarB);
}

// Weights two phases ahead: from device memory into L2, each block its own share.
__device__ __forceinline__ void prefetch_l2(const Net& net, const Phase& ph) {
  if (ph.kind != kPhaseConv) return;
#pragma unroll 1
  for (int i = 0; i < ph.convs; ++i) {
    const ConvDesc& c = ph.conv[i];
    const uint32_t total = c.passes * c.k32 * (c.N / 8) * 512,
                   share = ((total + gridDim.x - 1) / gridDim.x + 127) & ~127u, at = share * blockIdx.x;
    if (at >= total) continue;
    const uint32_t bytes = min(share, total - at);
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;\n" ::"l"(net.weights + c.weights + at), "r"(bytes)
                 : "memory");
  }
}

struct TileGeo {
  int image, m0, start, slots;
};

__device__ __forceinline__ TileGeo tile_geometry(const ConvDesc& c, int image, int tile, int TM) {
  TileGeo g;
  g.image = image;
  g.m0 = (tile % c.mt) * TM;
  const int last = min(g.m0 + TM, c.M) - 1;
  if (c.kind == kConv1x1) {
    g.start = 0;
    g.slots = last - g.m0 + 1;
  } else if (c.kind == kConv3x3 && c.stride == 1) {
    g.start = max(0, g.m0 - c.W - 1);
    g.slots = min(c.H * c.W, last + c.W + 2) - g.start;
  } else if (c.kind == kConv3x3) {
    const int y0 = g.m0 / c.OW, y1 = last / c.OW;
    g.start = max(0, (2 * y0 - 1) * c.W);
    g.slots = min(c.H * c.W, (2 * y1 + 2) * c.W) - g.start;
  } else {
    g.start = 2 * (g.m0 / c.OW);
    g.slots = 2 * (last / c.OW) + 7 - g.start;
  }  // stem: rows of the padded image
  return g;
}

// A thread's share of the activations: `count` pieces of 16 bytes, `rows` pixels apart.
struct ALoad {
  const char* src;
  uint32_t dst;
  int count, rows, pixel;
};

__device__ __forceinline__ ALoad prepare_a(const Net& net, const ConvDesc& c, const TileGeo& g, uint32_t smem) {
  const int s = threadIdx.x >> c.chunk_shift, q = threadIdx.x & ((1 << c.chunk_shift) - 1);
  ALoad a;
  a.rows = kThreads >> c.chunk_shift;
  a.count = g.slots > s ? (g.slots - s + a.rows - 1) / a.rows : 0;
  a.pixel = (c.kind == kConv1x1 ? g.m0 : g.start) + s;
  a.src = net.arena + c.in + static_cast<size_t>(g.image) * c.H * c.W * c.C * 2 + q * 16;
  a.dst = smem + c.smem_a + s * c.pitch + q * 16;
  if (!(c.kind == kConv1x1 && c.stride != 1)) a.src += static_cast<size_t>(a.pixel) * c.C * 2;
  return a;
}

__device__ __forceinline__ void load_a(const ConvDesc& c, const ALoad& a, int pass) {
  const char* src = a.src + pass * c.chunk * 2;
  uint32_t dst = a.dst;
  if (c.kind == kConv1x1 && c.stride != 1) {
    int pixel = a.pixel;
#pragma unroll 1
    for (int i = 0; i < a.count; ++i, pixel += a.rows, dst += a.rows * c.pitch) {
      const int y = pixel / c.OW;
      cp16(dst, src + static_cast<size_t>((y * c.W + pixel - y * c.OW) * 2) * c.C * 2);
    }
  } else {
    const uint32_t dsrc = a.rows * c.C * 2, ddst = a.rows * c.pitch;
#pragma unroll 4
    for (int i = 0; i < a.count; ++i, src += dsrc, dst += ddst) cp16(dst, src);
  }
  cp_commit();
}

// stem: fp32 NCHW -> half [row][W+8][4], zero padded; row r of the padded image is input row r - 3, column x is x - 4
__device__ __forceinline__ void load_stem(const Net& net, const ConvDesc& c, const TileGeo& g, char* smem) {
  uint2* dst = reinterpret_cast<uint2*>(smem + c.smem_a);
  const int plane = c.H * c.W, width = c.W + 8, total = g.slots * width;
  const float* input = net.input + static_cast<size_t>(g.image) * 3 * plane;
  constexpr int kBatch = 6;
#pragma unroll 1
  for (int i0 = threadIdx.x; i0 < total; i0 += kThreads * kBatch) {
    float v[kBatch][3];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int i = i0 + b * kThreads, r = i / width, x = i - r * width, y = g.start + r - 3, xx = x - 4;
      const bool in = i < total && y >= 0 && y < c.H && xx >= 0 && xx < c.W;
      const float* p = input + (in ? y * c.W + xx : 0);
#pragma unroll
      for (int q = 0; q < 3; ++q) v[b][q] = in ? __ldg(p + q * plane) : 0.f;
    }
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int i = i0 + b * kThreads;
      __half2 lo = __floats2half2_rn(v[b][0], v[b][1]), hi = __floats2half2_rn(v[b][2], 0.f);
      if (i < total) dst[i] = make_uint2(*reinterpret_cast<uint32_t*>(&lo), *reinterpret_cast<uint32_t*>(&hi));
    }
  }
}

// ---- one tile ---------------------------------------------------------------------------------------------------
template <int MF>
__device__ __forceinline__ void row_addresses(const ConvDesc& c, const TileGeo& g, int thread, uint32_t smem,
                                              uint32_t (&base)[MF], uint32_t (&valid)[MF]) {
  const int warp = thread >> 5, lane = thread & 31, wm = warp / (c.wk * c.wn);
  const uint32_t half = (lane >> 4) * 16;
#pragma unroll
  for (int i = 0; i < MF; ++i) {
    const int r = (wm * MF + i) * 16 + (lane & 15), m = g.m0 + r;
    const bool in = m < c.M;
    if (c.kind == kConv1x1) {
      base[i] = smem + c.smem_a + r * c.pitch + half;
      valid[i] = in ? 1u : 0u;
      continue;
    }
    const int y = m / c.OW, x = m - y * c.OW;
    if (c.kind == kStem) {
      base[i] = smem + c.smem_a + ((2 * y - g.start) * (c.W + 8) + 2 * x) * 8 + half;
      valid[i] = in ? 0x7fu : 0u;
    } else {
      const int cy = y * c.stride, cx = x * c.stride;
      base[i] = smem + c.smem_a + (cy * c.W + cx - g.start) * c.pitch + half;
      const uint32_t xs = (cx > 0 ? 1u : 0u) | 2u | (cx + 1 < c.W ? 4u : 0u);
      valid[i] = in ? ((cy > 0 ? xs : 0) | xs << 3 | (cy + 1 < c.H ? xs << 6 : 0)) : 0u;
    }
  }
}

template <int MF, int NF>
struct Frags {
  uint32_t a[MF][2][4];
  uint4 b[NF];
};

template <int MF, int NF>
__device__ __forceinline__ void load_frags(const ConvDesc& c, Frags<MF, NF>& f, int s, const uint32_t (&base)[MF],
                                           const uint32_t (&valid)[MF], uint32_t zero, uint32_t baddr) {
  const int tap = s >> c.step_shift, kb = (s & ((1 << c.step_shift) - 1)) * 64, off = c.tap_off[tap] + kb;
#pragma unroll
  for (int j = 0; j < NF; ++j) f.b[j] = lds128(baddr + (j * c.k32 + s) * 512);
#pragma unroll
  for (int i = 0; i < MF; ++i) {
    const bool v = (valid[i] >> tap) & 1;
    ldsm4(f.a[i][0], v ? base[i] + off : zero);
    ldsm4(f.a[i][1], v ? base[i] + off + 32 : zero);
  }
}

template <int MF, int NF>
__device__ __forceinline__ void multiply(const Frags<MF, NF>& f, float (&acc)[MF][NF][4]) {
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
__device__ __forceinline__ void mma_loop(const ConvDesc& c, const uint32_t (&base)[MF], const uint32_t (&valid)[MF],
                                         int thread, uint32_t smem, float (&acc)[MF][NF][4]) {
  const int warp = thread >> 5, lane = thread & 31;
  const int wk = warp % c.wk, wn = (warp / c.wk) % c.wn, step = c.wk, end = c.k32;
  const uint32_t baddr = smem + c.smem_b + (wn * NF * c.k32 * 32 + lane) * 16;
  // Not a step ahead: with the registers that takes, the compiler spills, and that costs more (docs/benchmarks/log.md).
  Frags<MF, NF> f;
#pragma unroll 1
  for (int s = wk; s < end; s += step) {
    load_frags(c, f, s, base, valid, smem, baddr);
    multiply(f, acc);
  }
}

// Products of one pass: waits for the activations (and weights), then accumulates.
template <int MF, int NF>
__device__ __forceinline__ void compute(const Net& net, int phase, const ConvDesc& shared, const TileGeo& g,
                                        char* smem_p, Pipe& pipe, auto load_pass) {
  float acc[MF][NF][4];
#pragma unroll
  for (int i = 0; i < MF; ++i)
#pragma unroll
    for (int j = 0; j < NF; ++j)
#pragma unroll
      for (int q = 0; q < 4; ++q) acc[i][j][q] = 0.f;
  // Opaque copies: without them the compiler computes every case's addresses ahead of the switch, and spills.
  uint32_t smem;
  int thread;
  asm volatile("mov.b32 %0, %1;" : "=r"(smem) : "r"(pipe.smem));
  int offset = static_cast<int>(reinterpret_cast<const char*>(&shared) - smem_p);
  asm volatile("mov.b32 %0, %0;" : "+r"(offset));
  const ConvDesc& c = *reinterpret_cast<const ConvDesc*>(smem_p + offset);
  asm volatile("mov.b32 %0, %1;" : "=r"(thread) : "r"(static_cast<int>(threadIdx.x)));
  uint32_t base[MF], valid[MF];
  row_addresses<MF>(c, g, thread, smem, base, valid);
#pragma unroll 1
  for (int pass = 0; pass < c.passes; ++pass) {
    if (pass > 0) load_pass(pass);
    cp_wait<0>();
    team_sync();
    mbar_wait(pipe.smem + kBarB, pipe.parity_b);
    pipe.parity_b ^= 1;
    STAMP(3);
    mma_loop<MF, NF>(c, base, valid, thread, smem, acc);
  }
  team_sync();  // everyone has read A: its place takes the partial sums of the warps that split K
  const int warp = thread >> 5, lane = thread & 31, TM = c.wm * MF * 16, TN = c.wn * NF * 8;
  const int wk = warp % c.wk, wn = (warp / c.wk) % c.wn, wm = warp / (c.wk * c.wn);
  const int ld = TN == 8 ? 8 : TN + 8;  // floats; eight rows land in different banks
  float* red = reinterpret_cast<float*>(smem_p + c.smem_a) + (wk * TM + wm * MF * 16 + (lane >> 2)) * ld + wn * NF * 8 +
               (lane & 3) * 2;
#pragma unroll
  for (int i = 0; i < MF; ++i)
#pragma unroll
    for (int j = 0; j < NF; ++j) {
      *reinterpret_cast<float2*>(red + i * 16 * ld + j * 8) = make_float2(acc[i][j][0], acc[i][j][1]);
      *reinterpret_cast<float2*>(red + (i * 16 + 8) * ld + j * 8) = make_float2(acc[i][j][2], acc[i][j][3]);
    }
}

__device__ __forceinline__ bool wait_go(const char* smem_p) {
  bar_sync(kGo, kBlock);
  return *reinterpret_cast<const volatile int*>(smem_p + kFailed) == 0;
}

// What the epilogue adds comes early, into shared memory: bias is constant and a residual at least two phases old, so
// both may travel before the grid has met.
struct TileArea {
  int TM, TN, image, m0, n0, shift;
};  // shift: log2 of TN / 8

__device__ __forceinline__ void load_addends(const Net& net, const ConvDesc& c, const TileArea& t, uint32_t smem) {
  const int units = t.TN / 4;  // of bias: 16 bytes each
  if (threadIdx.x < units) cp16(smem + c.smem_r + threadIdx.x * 16, net.weights + c.bias + t.n0 * 4 + threadIdx.x * 16);
  if (c.residual == kNone) return;
  const char* src = net.arena + c.residual + (static_cast<size_t>(t.image) * c.M * c.N + t.n0) * 2;
  const uint32_t dst = smem + c.smem_r + t.TN * 4;
  const int pieces = min(t.TM, c.M - t.m0) << t.shift, mask = (1 << t.shift) - 1;
#pragma unroll 2
  for (int i = threadIdx.x; i < pieces; i += kThreads)
    cp16(dst + i * 16, src + static_cast<size_t>(t.m0 + (i >> t.shift)) * c.N * 2 + (i & mask) * 16);
}

// Eight channels a thread: sums the warps' partial products, adds bias and residual, clips, stores 16 bytes.
__device__ __forceinline__ void finish(const Net& net, const ConvDesc& c, const TileArea& t, const char* smem_p) {
  const int ld = t.TN == 8 ? 8 : t.TN + 8, plane = t.TM * ld, mask = (1 << t.shift) - 1;
  const int pieces = min(t.TM, c.M - t.m0) << t.shift;
  const float* red = reinterpret_cast<const float*>(smem_p + c.smem_a);
  const float* bias = reinterpret_cast<const float*>(smem_p + c.smem_r);
  const uint4* res = reinterpret_cast<const uint4*>(smem_p + c.smem_r + t.TN * 4);
#pragma unroll 1
  for (int i = threadIdx.x; i < pieces; i += kThreads) {
    const int r = i >> t.shift, col = (i & mask) * 8;
    float4 a = *reinterpret_cast<const float4*>(bias + col), b = *reinterpret_cast<const float4*>(bias + col + 4);
    if (c.residual != kNone) {
      const uint4 v = res[i];
      const __half2* h = reinterpret_cast<const __half2*>(&v);
      const float2 f0 = __half22float2(h[0]), f1 = __half22float2(h[1]), f2 = __half22float2(h[2]),
                   f3 = __half22float2(h[3]);
      a.x += f0.x;
      a.y += f0.y;
      a.z += f1.x;
      a.w += f1.y;
      b.x += f2.x;
      b.y += f2.y;
      b.z += f3.x;
      b.w += f3.y;
    }
    const float* src = red + r * ld + col;
#pragma unroll 2
    for (int k = 0; k < c.wk; ++k, src += plane) {
      const float4 u = *reinterpret_cast<const float4*>(src), v = *reinterpret_cast<const float4*>(src + 4);
      a.x += u.x;
      a.y += u.y;
      a.z += u.z;
      a.w += u.w;
      b.x += v.x;
      b.y += v.y;
      b.z += v.z;
      b.w += v.w;
    }
    __half2 h[4] = {__floats2half2_rn(a.x, a.y), __floats2half2_rn(a.z, a.w), __floats2half2_rn(b.x, b.y),
                    __floats2half2_rn(b.z, b.w)};
    if (c.relu)
#pragma unroll
      for (auto& v : h) v = __hmax2_nan(v, __float2half2_rn(0.f));
    *reinterpret_cast<uint4*>(net.arena + c.out +
                              ((static_cast<size_t>(t.image) * c.M + t.m0 + r) * c.N + t.n0 + col) * 2) =
        *reinterpret_cast<const uint4*>(h);
  }
}

__device__ __forceinline__ void conv_tile(const Net& net, const ConvDesc& c, int t, bool b_loaded, char* smem_p,
                                          Pipe& pipe, bool wait, int phase, bool& alive) {
  TileArea e;
  e.TM = c.wm * 16 * fragments_m(c.cfg);
  e.TN = c.wn * 8 * fragments_n(c.cfg);
  const auto [image, tile] = split_tile(c, t);
  const TileGeo g = tile_geometry(c, image, tile, e.TM);
  e.image = image;
  e.m0 = g.m0;
  e.n0 = (tile / c.mt) * e.TN;
  e.shift = 31 - __clz(e.TN / 8);
  if (!b_loaded && threadIdx.x == 0) load_b(net, c, tile, 0, pipe.smem);
  if (!c.late_residual) load_addends(net, c, e, pipe.smem);
  const ALoad a = prepare_a(net, c, g, pipe.smem);
  STAMP(0);
  if (wait && !wait_go(smem_p)) {
    alive = false;
    return;
  }
  STAMP(1);
  if (c.late_residual) load_addends(net, c, e, pipe.smem);
  if (c.kind == kStem)
    load_stem(net, c, g, smem_p);
  else
    load_a(c, a, 0);
  STAMP(2);
  const int own = tile;
  auto load_pass = [&](int pass) {
    team_sync();
    load_a(c, a, pass);
    if (threadIdx.x == 0) load_b(net, c, own, pass, pipe.smem);
  };
  switch (c.cfg) {  // (log2 MF) * 4 + log2 NF
    case 0:
      compute<1, 1>(net, phase, c, g, smem_p, pipe, load_pass);
      break;
    case 1:
      compute<1, 2>(net, phase, c, g, smem_p, pipe, load_pass);
      break;
    case 2:
      compute<1, 4>(net, phase, c, g, smem_p, pipe, load_pass);
      break;
    case 4:
      compute<2, 1>(net, phase, c, g, smem_p, pipe, load_pass);
      break;
    case 5:
      compute<2, 2>(net, phase, c, g, smem_p, pipe, load_pass);
      break;
    case 6:
      compute<2, 4>(net, phase, c, g, smem_p, pipe, load_pass);
      break;
  }
  team_sync();
  STAMP(4);
  finish(net, c, e, smem_p);
  STAMP(5);
}

// ---- the other phases -------------------------------------------------------------------------------------------
__device__ __noinline__ void max_pool(const Net& net, const Phase& p) {
  const int OH = (p.H + 1) / 2, OW = (p.W + 1) / 2, units = p.C / 8, plane = OH * OW * units;
  const uint4* all = reinterpret_cast<const uint4*>(net.arena + p.in);
  uint4* out = reinterpret_cast<uint4*>(net.arena + p.out);
  for (int i = blockIdx.x * kThreads + threadIdx.x; i < plane * net.images; i += gridDim.x * kThreads) {
    const int image = i / plane, u = i % units, m = i % plane / units, y = m / OW, x = m % OW;
    const uint4* in = all + static_cast<size_t>(image) * p.H * p.W * units;
    __half2 best[4];
    for (auto& b : best) b = __float2half2_rn(-65504.f);
#pragma unroll
    for (int dy = -1; dy <= 1; ++dy)
#pragma unroll
      for (int dx = -1; dx <= 1; ++dx) {
        const int iy = 2 * y + dy, ix = 2 * x + dx;
        if (iy < 0 || iy >= p.H || ix < 0 || ix >= p.W) continue;
        uint4 v = __ldcg(in + (iy * p.W + ix) * units + u);
        const __half2* h = reinterpret_cast<const __half2*>(&v);
        for (int q = 0; q < 4; ++q) best[q] = __hmax2_nan(best[q], h[q]);
      }
    out[i] = *reinterpret_cast<uint4*>(best);
  }
}

__device__ __noinline__ void avg_pool(const Net& net, const Phase& p) {
  const int lane = threadIdx.x & 31, warp = blockIdx.x * kWarps + (threadIdx.x >> 5), units = p.C / 8, px = p.H * p.W;
  const uint4* all = reinterpret_cast<const uint4*>(net.arena + p.in);
  float* out = reinterpret_cast<float*>(net.arena + p.out);
  for (int i = warp; i < units * net.images; i += gridDim.x * kWarps) {
    const int image = i / units, u = i % units;
    const uint4* in = all + static_cast<size_t>(image) * px * units;
    float s[8] = {};
#pragma unroll 1
    for (int m = lane; m < px; m += 32) {
      uint4 v = __ldcg(in + m * units + u);
      const __half2* h = reinterpret_cast<const __half2*>(&v);
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        float2 f = __half22float2(h[q]);
        s[2 * q] += f.x;
        s[2 * q + 1] += f.y;
      }
    }
#pragma unroll
    for (int q = 0; q < 8; ++q)
      for (int o = 16; o; o >>= 1) s[q] += __shfl_xor_sync(~0u, s[q], o);
    if (lane == 0)
      for (int q = 0; q < 8; ++q) out[i * 8 + q] = s[q] / px;
  }
}

constexpr int kUnits = 8;  // 16-byte pieces of a row that a lane holds: 2048 features

// The product of a row, spread over a warp, with one image's features; the sum is in every lane.
__device__ __forceinline__ float dot(const uint4 (&w)[kUnits], const float* x, int units, int lane) {
  float s = 0;
#pragma unroll
  for (int q = 0; q < kUnits; ++q) {
    const int u = q * 32 + lane;
    if (u >= units) continue;
    const float4 x0 = __ldcg(reinterpret_cast<const float4*>(x) + 2 * u),
                 x1 = __ldcg(reinterpret_cast<const float4*>(x) + 2 * u + 1);
    const __half2* h = reinterpret_cast<const __half2*>(&w[q]);
    const float2 a = __half22float2(h[0]), b = __half22float2(h[1]), c = __half22float2(h[2]), d = __half22float2(h[3]);
    s += a.x * x0.x + a.y * x0.y + b.x * x0.z + b.y * x0.w + c.x * x1.x + c.y * x1.y + d.x * x1.z + d.y * x1.w;
  }
  for (int o = 16; o; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
  return s;
}

// One warp a row; up to 2048 inputs a row are held in registers before the barrier.
__device__ __noinline__ void fully_connected(const Net& net, const Phase& p, int classes, const char* smem_p,
                                             bool& alive) {
  const int lane = threadIdx.x & 31, warp = blockIdx.x * kWarps + (threadIdx.x >> 5), units = p.C / 8;
  const float* x = reinterpret_cast<const float*>(net.arena + p.in);
  uint4 w[kUnits];
  bool waited = false;
  for (int row = warp; row < classes || !waited; row += gridDim.x * kWarps) {
    const uint4* src =
        reinterpret_cast<const uint4*>(net.weights + p.weights) + static_cast<size_t>(min(row, classes - 1)) * units;
#pragma unroll
    for (int q = 0; q < kUnits; ++q)
      if (q * 32 + lane < units) w[q] = __ldg(src + q * 32 + lane);
    const float bias = __ldg(reinterpret_cast<const float*>(net.weights + p.bias) + min(row, classes - 1));
    if (!waited) {
      waited = true;
      if (!wait_go(smem_p)) {
        alive = false;
        return;
      }
    }
#pragma unroll 1
    for (int image = 0; image < net.images; ++image) {
      const float s = dot(w, x + static_cast<size_t>(image) * p.C, units, lane);
      if (lane == 0 && row < classes) net.output[static_cast<size_t>(image) * classes + row] = s + bias;
    }
  }
}

// ---- the kernel -------------------------------------------------------------------------------------------------
// The ninth warp: tells the grid that this block is done, starts the next weights on their way, waits for the grid.
__device__ __forceinline__ void keep_together(const Net& net, Phase* ring, char* smem_p, uint32_t smem) {
  const int lane = threadIdx.x & 31;
  unsigned target = *reinterpret_cast<volatile unsigned*>(net.counter + 1);
#pragma unroll 1
  for (int p = 0; p < net.count; ++p) {
    if (p > 0) {
      bar_sync(kDone, kBlock);
      target += gridDim.x;
      if (lane == 0) grid_arrive(net);
    }
    if (p + 2 < net.count && lane < sizeof(Phase) / 16)
      cp16(smem_u32(&ring[(p + 2) & 3]) + lane * 16, reinterpret_cast<const char*>(net.phases + p + 2) + lane * 16);
    cp_commit();
    bool ok = true;
    if (lane == 0) {
      const Phase& ph = ring[p & 3];
      const int t = blockIdx.x, which = t >= ph.tiles0;
      if (ph.kind == kPhaseConv && t < ph.tiles) {
        const ConvDesc& c = ph.conv[which];
        load_b(net, c, split_tile(c, which ? t - ph.tiles0 : t).tile, 0, smem);
      }
      if (p > 0) ok = grid_wait(net, target);
      if (!ok) *reinterpret_cast<volatile int*>(smem_p + kFailed) = 1;
    }
    ok = __shfl_sync(~0u, ok, 0);
    cp_wait<0>();
    __syncwarp();
    bar_arrive(kGo, kBlock);
    if (!ok) return;
    if (lane == 0 && p + 1 < net.count) prefetch_l2(net, ring[(p + 1) & 3]);
  }
  bar_sync(kDone, kBlock);
  // the last phase arrives too; the last block to do so leaves the next launch its starting value
  target += gridDim.x;
  if (lane == 0 && atomicAdd(net.counter, 1u) + 1u == target) net.counter[1] = target;
}

__device__ __forceinline__ void work(const Net& net, const Phase* ring, char* smem_p, uint32_t smem) {
  Pipe pipe{smem, 0};
  bool alive = true;
#pragma unroll 1
  for (int p = 0; p < net.count; ++p) {
    const int phase = p;
    const Phase& ph = ring[p & 3];
    bool waited = false;
    if (ph.kind == kPhaseConv) {
#pragma unroll 1
      for (int t = blockIdx.x; t < ph.tiles; t += gridDim.x) {
        if (waited) team_sync();
        const int which = t >= ph.tiles0;
        conv_tile(net, ph.conv[which], which ? t - ph.tiles0 : t, !waited, smem_p, pipe, !waited, phase, alive);
        if (!alive) return;
        waited = true;
      }
    } else if (ph.kind == kPhaseFc) {
      fully_connected(net, ph, ph.H, smem_p, alive);
      if (!alive) return;
      waited = true;
    }
    if (!waited && !wait_go(smem_p)) return;
    if (ph.kind == kPhaseMaxPool) max_pool(net, ph);
    if (ph.kind == kPhaseAvgPool) avg_pool(net, ph);
    bar_arrive(kDone, kBlock);
    STAMP(6);
  }
}

}  // namespace ferry::latency

extern "C" __global__ void __launch_bounds__(ferry::latency::kBlock, 1)
    ferry_resnet(const __grid_constant__ ferry::latency::Net net) {
  using namespace ferry::latency;
  extern __shared__ __align__(128) char smem[];
  Phase* ring = reinterpret_cast<Phase*>(smem + kRing);
  if (threadIdx.x < 16) reinterpret_cast<int*>(smem)[threadIdx.x] = 0;
  __syncthreads();
  if (threadIdx.x == 0) {
    mbar_init(smem_u32(smem) + kBarB);
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
  }
  if (threadIdx.x < 2 * sizeof(Phase) / 16)
    cp16(smem_u32(ring) + threadIdx.x * 16, reinterpret_cast<const char*>(net.phases) + threadIdx.x * 16);
  cp_commit();
  cp_wait<0>();
  __syncthreads();
  if (threadIdx.x >= kThreads)
    keep_together(net, ring, smem, smem_u32(smem));
  else
    work(net, ring, smem, smem_u32(smem));
}
