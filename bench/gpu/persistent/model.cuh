// A ResNet-101 with seeded weights, and every layer of it computed plainly in FP32.
#pragma once
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "planner.cuh"

#define CK(x)                                                                \
  do {                                                                       \
    cudaError_t e_ = (x);                                                    \
    if (e_ != cudaSuccess) {                                                 \
      std::printf("%s: %s line %d\n", #x, cudaGetErrorString(e_), __LINE__); \
      std::exit(1);                                                          \
    }                                                                        \
  } while (0)

struct Layer {
  ConvShape s;
  std::vector<float> w, b;
  int R;
  uint32_t in, out, res;
};

// reference: NHWC float, one thread an output
__global__ void ref_conv(const float* x, const float* w, const float* b, const float* res, float* y, int batch, int H,
                         int W, int C, int OH, int OW, int N, int R, int stride, int relu) {
  long i = blockIdx.x * 256L + threadIdx.x;
  if (i >= (long)batch * OH * OW * N) return;
  int n = i % N, m = i / N, gy = m / OW, ox = m % OW, oy = gy % OH, image = gy / OH;
  float s = b[n];
  for (int ky = 0; ky < R; ++ky)
    for (int kx = 0; kx < R; ++kx) {
      int y0 = oy * stride + ky - R / 2, x0 = ox * stride + kx - R / 2;
      if (y0 < 0 || y0 >= H || x0 < 0 || x0 >= W) continue;
      for (int c = 0; c < C; ++c)
        s += x[((size_t)(image * H + y0) * W + x0) * C + c] * w[(size_t)((ky * R + kx) * C + c) * N + n];
    }
  if (res) s += res[i];
  y[i] = relu ? fmaxf(s, 0.f) : s;
}
__global__ void ref_pool(const float* x, float* y, int batch, int H, int W, int C) {
  int OH = H / 2, OW = W / 2;
  long i = blockIdx.x * 256L + threadIdx.x;
  if (i >= (long)batch * OH * OW * C) return;
  int c = i % C, m = i / C, gy = m / OW, ox = m % OW, oy = gy % OH, image = gy / OH;
  float best = -1e30f;
  for (int dy = -1; dy <= 1; ++dy)
    for (int dx = -1; dx <= 1; ++dx) {
      int yy = 2 * oy + dy, xx = 2 * ox + dx;
      if (yy >= 0 && yy < H && xx >= 0 && xx < W) best = fmaxf(best, x[((size_t)(image * H + yy) * W + xx) * C + c]);
    }
  y[i] = best;
}
__global__ void ref_head(const float* x, const float* w, const float* b, float* y, int px, int C, int classes) {
  int i = blockIdx.x, n = i % classes, image = i / classes;
  float s = 0;
  for (int c = threadIdx.x; c < C; c += 32) {
    float a = 0;
    for (int p = 0; p < px; ++p) a += x[((size_t)image * px + p) * C + c];
    s += a / px * w[(size_t)n * C + c];
  }
  for (int o = 16; o; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
  if (threadIdx.x == 0) y[i] = s + b[n];
}

struct Rng {
  uint64_t s = 88172645463325252ull;
  float uniform() {  // variance 1
    s ^= s << 13, s ^= s >> 7, s ^= s << 17;
    return ((s >> 40) * (1.f / 8388608.f) - 1.f) * 1.7320508f;
  }
};

struct Model {
  std::vector<Layer> layers;
  std::vector<std::vector<int>> members;  // layers of each phase; empty: pool, pool, classifier
  std::vector<float> fcw, fcb;
};

static const int kClasses = 1000, kBuffers = 5;

static Model make_model() {
  Model m;
  Rng rng;
  const int depths[4] = {3, 4, 23, 3};
  auto add = [&](ConvShape s, int R, int in, int out, int res, float gain) {
    Layer l;
    l.s = s;
    l.R = R;
    l.in = in, l.out = out, l.res = res;
    const int C = s.kind == kStem ? 3 : s.C;
    l.w.resize((size_t)s.N * C * R * R);  // [ky][kx][c][n]
    l.b.resize(s.N);
    const float sd = gain * std::sqrt(2.f / (C * R * R));
    for (auto& v : l.w) v = __half2float(__float2half(sd * rng.uniform()));
    for (auto& v : l.b) v = 0.1f * rng.uniform();
    m.layers.push_back(std::move(l));
    return (int)m.layers.size() - 1;
  };
  m.members.push_back({add({kStem, 2, 224, 224, 4, 112, 112, 64, 1, 1}, 7, -1, 0, -1, 1.f)});
  m.members.push_back({});
  int cur = 1, C = 64, H = 56;
  for (int st = 0; st < 4; ++st)
    for (int i = 0; i < depths[st]; ++i) {
      const int P = 64 << st, stride = st > 0 && i == 0 ? 2 : 1, OH = H / stride;
      int x = cur, t1 = (cur + 1) % 5, t2 = (cur + 2) % 5, d = (cur + 3) % 5, y = (cur + 4) % 5;
      std::vector<int> first{add({kConv1x1, 1, H, H, C, H, H, P, 1, 1}, 1, x, t1, -1, 1.f)};
      if (i == 0) first.push_back(add({kConv1x1, stride, H, H, C, OH, OH, 4 * P, 0, 1}, 1, x, d, -1, 0.7f));
      m.members.push_back(first);
      m.members.push_back({add({kConv3x3, stride, H, H, P, OH, OH, P, 1, 1}, 3, t1, t2, -1, 1.f)});
      m.members.push_back({add({kConv1x1, 1, OH, OH, P, OH, OH, 4 * P, 1, 1}, 1, t2, y, i == 0 ? d : x, 0.25f)});
      cur = y;
      C = 4 * P;
      H = OH;
    }
  m.members.push_back({});
  m.members.push_back({});
  m.fcw.resize((size_t)kClasses * 2048);
  m.fcb.resize(kClasses);
  for (auto& v : m.fcw) v = __half2float(__float2half(0.02f * rng.uniform()));
  for (auto& v : m.fcb) v = 0.1f * rng.uniform();
  return m;
}

struct Reference {  // of every layer's output, FP32, on the device, for one batch size
  int batch = 0;
  std::vector<std::vector<float>> out;  // by layer
  std::vector<float> pool, head;
};

template <class T>
static T* upload(const std::vector<T>& v) {
  T* d;
  CK(cudaMalloc(&d, v.size() * sizeof(T)));
  CK(cudaMemcpy(d, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice));
  return d;
}

static Reference make_reference(const Model& m, int batch, const std::vector<float>& in) {
  Reference ref;
  ref.batch = batch;
  const size_t FB = (size_t)batch * 112 * 112 * 64;
  float *r[kBuffers], *rw, *rb;
  for (auto& p : r) CK(cudaMalloc(&p, FB * 4));
  CK(cudaMalloc(&rw, 4 << 22));
  CK(cudaMalloc(&rb, 8192));
  std::vector<float> nhwc(in.size());
  const int plane = 224 * 224;
  for (int b = 0; b < batch; ++b)
    for (int y = 0; y < plane; ++y)
      for (int c = 0; c < 3; ++c)
        nhwc[((size_t)b * plane + y) * 3 + c] = __half2float(__float2half(in[((size_t)b * 3 + c) * plane + y]));
  float* r_in = upload(nhwc);
  ref.out.resize(m.layers.size());
  int last = 0;
  for (auto& ph : m.members) {
    if (ph.empty()) {
      if (&ph == &m.members[1]) {
        ref_pool<<<(FB / 4 + 255) / 256, 256>>>(r[0], r[1], batch, 112, 112, 64);
        ref.pool.resize((size_t)batch * 56 * 56 * 64);
        CK(cudaMemcpy(ref.pool.data(), r[1], ref.pool.size() * 4, cudaMemcpyDeviceToHost));
      }
      continue;
    }
    for (int li : ph) {
      const Layer& l = m.layers[li];
      const auto& s = l.s;
      const size_t n = (size_t)batch * s.OH * s.OW * s.N;
      CK(cudaMemcpy(rw, l.w.data(), l.w.size() * 4, cudaMemcpyHostToDevice));
      CK(cudaMemcpy(rb, l.b.data(), l.b.size() * 4, cudaMemcpyHostToDevice));
      ref_conv<<<(n + 255) / 256, 256>>>(s.kind == kStem ? r_in : r[l.in], rw, rb, l.res == ~0u ? nullptr : r[l.res],
                                         r[l.out], batch, s.H, s.W, s.kind == kStem ? 3 : s.C, s.OH, s.OW, s.N, l.R,
                                         s.stride, s.relu);
      ref.out[li].resize(n);
      CK(cudaMemcpy(ref.out[li].data(), r[l.out], n * 4, cudaMemcpyDeviceToHost));
      if (ph.size() == 1) last = l.out;
    }
  }
  float *fw = upload(m.fcw), *fb = upload(m.fcb), *y;
  CK(cudaMalloc(&y, batch * kClasses * 4));
  ref_head<<<batch * kClasses, 32>>>(r[last], fw, fb, y, 49, 2048, kClasses);
  ref.head.resize((size_t)batch * kClasses);
  CK(cudaMemcpy(ref.head.data(), y, ref.head.size() * 4, cudaMemcpyDeviceToHost));
  for (auto p : r) cudaFree(p);
  cudaFree(rw), cudaFree(rb), cudaFree(r_in), cudaFree(fw), cudaFree(fb), cudaFree(y);
  return ref;
}
