// The products of a tile, by eight warps that split K.
#pragma once
#include "cuda/kernel/finish.cuh"

namespace ferry::latency {

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

// Accumulates a tile over its passes, then leaves every warp's part in shared memory; false: given up. `elsewhere`: of
// a 1x1 convolution in a chain, where its activations are; they do not come with the item.
template <int MF, int NF, int KIND, bool INT8>
__device__ __forceinline__ bool compute(const Net& net, const Shared s, const ConvDesc& c, const Rows& rows, int item,
                                        uint32_t& parity, Residual<INT8>& residual, int phase, uint32_t elsewhere = 0) {
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
        a[i] = (elsewhere ? elsewhere : base + a_off) + (slice0 >> 1) * box_bytes + rows.slot[i] * 128 +
               ((((rows.slot[i] & 7) << 4) ^ half) ^ ((slice0 & 1) << 6));
    if (!mbar_wait(net, head() + kFull + slot * 8, (parity >> slot) & 1)) return false;
    if (pass == 0) {
      STAMP(1);
      residual.load(net.arena);
    } else {
      STAMP(12);
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
#define FERRY_CASE(n, MF, NF)                                                             \
  case n:                                                                                 \
    ok = compute<MF, NF, kConv1x1, INT8>(net, s, c, rows, item, parity, residual, phase); \
    break;                                                                                \
  case 8 + n:                                                                             \
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

}  // namespace ferry::latency
