// The end of a tile: the warps' parts are summed, bias and residual added, clipped and stored.
#pragma once
#include <type_traits>

#include "cuda/kernel/feeder.cuh"

namespace ferry::latency {

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

__device__ __forceinline__ uint32_t to_half2(float a, float b, bool relu) {
  __half2 v = __floats2half2_rn(a, b);
  if (relu) v = __hmax2_nan(v, __float2half2_rn(0.f));
  return *reinterpret_cast<const uint32_t*>(&v);
}
__device__ __forceinline__ uint2 to_halves(const float4 a, bool relu) {
  return make_uint2(to_half2(a.x, a.y, relu), to_half2(a.z, a.w, relu));
}
__device__ __forceinline__ float4 clipped(const float4 a, bool relu) {
  return relu ? make_float4(fmaxf(a.x, 0.f), fmaxf(a.y, 0.f), fmaxf(a.z, 0.f), fmaxf(a.w, 0.f)) : a;
}
__device__ __forceinline__ void add_halves(float4& a, const uint2 v) {
  const float2 f0 = __half22float2(*reinterpret_cast<const __half2*>(&v.x)),
               f1 = __half22float2(*reinterpret_cast<const __half2*>(&v.y));
  add(a, make_float4(f0.x, f0.y, f1.x, f1.y));
}

// Four channels a thread and turn: sums the warps' parts, adds bias and residual, clips, stores.
template <bool INT8>
__device__ __forceinline__ void finish(const Net& net, const ConvDesc& c, uint32_t base, int at, int pieces,
                                       const Factors& f, Residual<INT8>& residual) {
  const int shift = c.tn - 2, row = threadIdx.x >> shift, col = (threadIdx.x & ((1 << shift) - 1)) * 4,
            ld = (1 << c.tn) + 8, turn = kThreads >> shift, plane = tile_m(c) * ld * 4, wk = 1 << c.wk,
            red_step = turn * ld * 4;
  const bool relu = c.relu, halves = !INT8 || (c.flags & kInt8Out) == 0;
  const char* red = smem + (base + c.a_off + (row * ld + col) * 4 - head());
  char* to = net.arena + c.out + at;
  const int step = INT8 ? turn * out_pitch(c) * (halves ? 2 : 1) : turn * c.N * 2;
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
        if (q < residual.count) add_scaled(a, from_int8(residual.v[q]), make_float4(factor, factor, factor, factor));
        if (halves)
          *reinterpret_cast<uint2*>(to) = to_halves(a, relu);
        else
          *reinterpret_cast<uint32_t*>(to) = to_int8(clipped(a, relu));
      } else {
        if (q < residual.count) add_halves(a, residual.v[q]);
        add_parts(a, red, wk, plane);
        *reinterpret_cast<uint2*>(to) = to_halves(a, relu);
      }
      red += red_step;
      to += step;
    }
  }
}

}  // namespace ferry::latency
