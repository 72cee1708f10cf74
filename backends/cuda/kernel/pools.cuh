// The phases that are no convolution.
#pragma once
#include "cuda/kernel/meeting.cuh"

namespace ferry::latency {

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

}  // namespace ferry::latency
