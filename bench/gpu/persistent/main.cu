// Builds a ResNet-101 with seeded weights, checks every phase against a plain convolution in FP32, times a graph
// launch.
//
//   nvcc -std=c++20 -O3 -gencode=arch=compute_90,code=sm_90 -o persistent main.cu && P_BW=60 P_BF=0.1 ./persistent
//   -DTRACE and P_TRACE=1: clock cycles of each phase; P_NOCHECK=1: time only; P_BW, P_BF, P_ST: the planner's
//   constants
#include <cuda_runtime.h>

#include <cstring>
#include <random>
#include <string>

#include "kernel.cuh"
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
  size_t w_off = 0, b_off = 0;
  int R;
  uint32_t in, out, res;
  std::string name;
};

// reference: NHWC float, one thread an output
__global__ void ref_conv(const float* x, const float* w, const float* b, const float* res, float* y, int H, int W,
                         int C, int OH, int OW, int N, int R, int stride, int relu) {
  long i = blockIdx.x * 256L + threadIdx.x;
  if (i >= (long)OH * OW * N) return;
  int n = i % N, m = i / N, oy = m / OW, ox = m % OW;
  float s = b[n];
  for (int ky = 0; ky < R; ++ky)
    for (int kx = 0; kx < R; ++kx) {
      int y0 = oy * stride + ky - R / 2, x0 = ox * stride + kx - R / 2;
      if (y0 < 0 || y0 >= H || x0 < 0 || x0 >= W) continue;
      for (int c = 0; c < C; ++c) s += x[(y0 * W + x0) * C + c] * w[((n * C + c) * R + ky) * R + kx];
    }
  if (res) s += res[i];
  y[i] = relu ? fmaxf(s, 0.f) : s;
}
__global__ void ref_pool(const float* x, float* y, int H, int W, int C) {
  int OH = H / 2, OW = W / 2;
  long i = blockIdx.x * 256L + threadIdx.x;
  if (i >= (long)OH * OW * C) return;
  int c = i % C, m = i / C, oy = m / OW, ox = m % OW;
  float best = -1e30f;
  for (int dy = -1; dy <= 1; ++dy)
    for (int dx = -1; dx <= 1; ++dx) {
      int yy = 2 * oy + dy, xx = 2 * ox + dx;
      if (yy >= 0 && yy < H && xx >= 0 && xx < W) best = fmaxf(best, x[(yy * W + xx) * C + c]);
    }
  y[i] = best;
}
__global__ void to_half(const float* x, float* y, long n) {
  long i = blockIdx.x * 256L + threadIdx.x;
  if (i < n) y[i] = x[i];
}

int main(int argc, char** argv) {
  int dev_id = 0;
  cudaDeviceProp prop{};
  Device dev;
  if (getenv("P_BW")) dev.bw = atof(getenv("P_BW"));
  if (getenv("P_BF")) dev.bf = atof(getenv("P_BF"));
  if (getenv("P_ST")) dev.stepc = atof(getenv("P_ST"));
  const bool have = cudaGetDeviceProperties(&prop, dev_id) == cudaSuccess;
  if (have) {
    dev.sms = prop.multiProcessorCount;
    dev.smem = (int)prop.sharedMemPerBlockOptin;
  }
  std::printf("%s, %d SMs, %d bytes smem\n", have ? prop.name : "no GPU", dev.sms, dev.smem);
  const int depths[4] = {3, 4, 23, 3};
  std::mt19937 rng(7);
  std::normal_distribution<float> nd;
  std::vector<Layer> layers;
  std::vector<Phase> phases;
  const uint32_t BUF = 112 * 112 * 64 * 2;  // bytes; five of them
  auto buf = [&](int i) { return (uint32_t)(i * BUF); };
  auto add = [&](const char* name, ConvShape s, int R, uint32_t in, uint32_t out, uint32_t res, float gain) {
    Layer l;
    l.s = s;
    l.R = R;
    l.in = in;
    l.out = out;
    l.res = res;
    l.name = name;
    const int C = s.kind == kStem ? 3 : s.C;
    l.w.resize((size_t)s.N * C * R * R);
    l.b.resize(s.N);
    const float sd = gain * std::sqrt(2.f / (C * R * R));
    for (auto& v : l.w) v = __half2float(__float2half(sd * nd(rng)));
    for (auto& v : l.b) v = 0.1f * nd(rng);
    layers.push_back(std::move(l));
    return (int)layers.size() - 1;
  };
  std::vector<std::vector<int>> members;  // layers of each phase
  double predicted = 0;
  std::vector<std::vector<int>> A, B;
  std::vector<double> pns;
  auto conv_phase = [&](std::vector<int> ls) {
    Phase ph{};
    std::vector<ConvShape> sh;
    for (int l : ls) sh.push_back(layers[l].s);
    std::vector<int> a, b;
    double ns;
    plan_phase(ph, sh, dev, kSmemHead, a, b, ns);
    for (size_t i = 0; i < ls.size(); ++i) {
      ph.conv[i].in = layers[ls[i]].in;
      ph.conv[i].out = layers[ls[i]].out;
      ph.conv[i].residual = layers[ls[i]].res;
    }
    phases.push_back(ph);
    members.push_back(ls);
    A.push_back(a);
    B.push_back(b);
    pns.push_back(ns);
    predicted += ns + 1100;
  };
  auto other = [&](int kind, int H, int W, int C, uint32_t in, uint32_t out) {
    Phase ph{};
    ph.kind = kind;
    ph.H = H;
    ph.W = W;
    ph.C = C;
    ph.in = in;
    ph.out = out;
    phases.push_back(ph);
    members.push_back({});
    A.push_back({});
    B.push_back({});
    pns.push_back(500);
    predicted += 1600;
  };
  conv_phase({add("conv1", {kStem, 2, 224, 224, 4, 112, 112, 64, 1}, 7, 0, buf(0), kNone, 1.f)});
  other(kPhaseMaxPool, 112, 112, 64, buf(0), buf(1));
  int cur = 1, C = 64, H = 56;
  for (int st = 0; st < 4; ++st)
    for (int i = 0; i < depths[st]; ++i) {
      const int P = 64 << st, stride = st > 0 && i == 0 ? 2 : 1, OH = H / stride;
      int x = cur, t1 = (cur + 1) % 5, t2 = (cur + 2) % 5, d = (cur + 3) % 5, y = (cur + 4) % 5;
      std::vector<int> first{add("a", {kConv1x1, 1, H, H, C, H, H, P, 1}, 1, buf(x), buf(t1), kNone, 1.f)};
      if (i == 0)
        first.push_back(add("down", {kConv1x1, stride, H, H, C, OH, OH, 4 * P, 0}, 1, buf(x), buf(d), kNone, 0.7f));
      conv_phase(first);
      conv_phase({add("b", {kConv3x3, stride, H, H, P, OH, OH, P, 1}, 3, buf(t1), buf(t2), kNone, 1.f)});
      conv_phase(
          {add("c", {kConv1x1, 1, OH, OH, P, OH, OH, 4 * P, 1}, 1, buf(t2), buf(y), i == 0 ? buf(d) : buf(x), 0.25f)});
      cur = y;
      C = 4 * P;
      H = OH;
    }
  const int classes = 1000;
  other(kPhaseAvgPool, 7, 7, 2048, buf(cur), buf((cur + 1) % 5));
  other(kPhaseFc, classes, 0, 2048, buf((cur + 1) % 5), 0);
  // shared memory of a phase: weights, addends, activations
  const int lo = align_up(kSmemHead, 128);
  for (size_t p = 0; p < phases.size(); ++p)
    for (int i = 0; i < phases[p].convs; ++i) {
      auto& c = phases[p].conv[i];
      const int TM = c.wm * 16 << (c.cfg >> 2), TN = c.wn * 8 << (c.cfg & 3);
      c.smem_b = lo;
      c.smem_r = align_up(lo + B[p][i], 128);
      c.smem_a = align_up(c.smem_r + TN * 4 + TM * TN * 2, 128);
    }
  // pack weights
  std::vector<char> blob;
  auto put = [&](const void* d, size_t n) {
    size_t o = (blob.size() + 255) / 256 * 256;
    blob.resize(o + n);
    std::memcpy(blob.data() + o, d, n);
    return o;
  };
  for (size_t p = 0; p < phases.size(); ++p)
    for (size_t q = 0; q < members[p].size(); ++q) {
      ConvDesc& d = phases[p].conv[q];
      Layer& l = layers[members[p][q]];
      d.bias = (uint32_t)put(l.b.data(), l.b.size() * 4);
      std::vector<__half> pk((size_t)d.passes * d.N * d.k32 * 32);
      size_t o = 0;
      const int mask = (1 << d.step_shift) - 1;
      for (int ps = 0; ps < d.passes; ++ps)
        for (int n8 = 0; n8 < d.N / 8; ++n8)
          for (int s = 0; s < d.k32; ++s)
            for (int lane = 0; lane < 32; ++lane)
              for (int h = 0; h < 2; ++h)
                for (int b = 0; b < 2; ++b)
                  for (int e = 0; e < 2; ++e) {
                    const int n = n8 * 8 + lane / 4, kk = 16 * h + (lane % 4) * 2 + 8 * b + e, tap = s >> d.step_shift;
                    float v = 0;
                    if (d.kind == kStem) {
                      const int kx = kk / 4 - 1, c = kk % 4;
                      if (kx >= 0 && c < 3) v = l.w[((n * 3 + c) * 7 + tap) * 7 + kx];
                    } else {
                      const int c = ps * d.chunk + (s & mask) * 32 + kk, R = l.R;
                      v = l.w[((size_t)n * d.C + c) * R * R + tap];
                    }
                    pk[o++] = __float2half(v);
                  }
      d.weights = put(pk.data(), pk.size() * 2);
    }
  std::vector<float> fcb(classes);
  std::vector<__half> fcw((size_t)classes * 2048);
  for (auto& v : fcw) v = __float2half(0.02f * nd(rng));
  for (auto& v : fcb) v = 0.1f * nd(rng);
  phases.back().weights = put(fcw.data(), fcw.size() * 2);
  phases.back().bias = (uint32_t)put(fcb.data(), fcb.size() * 4);
  std::printf("%zu phases, weights %.1f MB, predicted %.3f ms; descriptor %zu bytes\n", phases.size(),
              blob.size() / 1e6, predicted / 1e6, sizeof(Phase));
  if (argc > 1)
    for (size_t p = 0; p < phases.size(); ++p) {
      auto& ph = phases[p];
      std::printf("%3zu kind %d tiles %d pf %d ns %.0f", p, ph.kind, ph.tiles, ph.prefetch, pns[p]);
      for (int i = 0; i < ph.convs; ++i) {
        auto& c = ph.conv[i];
        std::printf(" | %d s%d C%d N%d M%d cfg%d w%d%d%d mt%d nt%d passes %d chunk %d A%d B%d", c.kind, c.stride, c.C,
                    c.N, c.M, c.cfg, c.wm, c.wn, c.wk, c.mt, c.nt, c.passes, c.chunk, A[p][i], B[p][i]);
      }
      std::printf("\n");
    }
  if (!have) return 0;

  char *d_w, *d_arena;
  Phase* d_ph;
  float *d_in, *d_out;
  unsigned *d_ctr, *d_fail;
  unsigned long long* d_trace;
  CK(cudaMalloc(&d_w, blob.size()));
  CK(cudaMemcpy(d_w, blob.data(), blob.size(), cudaMemcpyHostToDevice));
  CK(cudaMalloc(&d_arena, 5 * BUF));
  CK(cudaMalloc(&d_ph, phases.size() * sizeof(Phase)));
  CK(cudaMemcpy(d_ph, phases.data(), phases.size() * sizeof(Phase), cudaMemcpyHostToDevice));
  CK(cudaMalloc(&d_in, 3 * 224 * 224 * 4));
  CK(cudaMalloc(&d_out, classes * 4));
  CK(cudaMalloc(&d_ctr, 256));
  CK(cudaMemset(d_ctr, 0, 256));
  CK(cudaMalloc(&d_fail, 4));
  CK(cudaMemset(d_fail, 0, 4));
  CK(cudaMalloc(&d_trace, 8 * 256));
  std::vector<float> in(3 * 224 * 224);
  for (auto& v : in) v = nd(rng);
  CK(cudaMemcpy(d_in, in.data(), in.size() * 4, cudaMemcpyHostToDevice));
  CK(cudaFuncSetAttribute(forward, cudaFuncAttributeMaxDynamicSharedMemorySize, dev.smem));
  Net net{d_ph, (int)phases.size(), d_w, d_arena, d_in, d_out, d_ctr, d_fail, 2000000000LL, nullptr};
  // layer by layer against the reference
  const size_t FB = 112 * 112 * 64;
  float* r[5];
  for (auto& p : r) CK(cudaMalloc(&p, FB * 4));
  float *rw, *rb;
  CK(cudaMalloc(&rw, 4 << 22));
  CK(cudaMalloc(&rb, 8192));
  std::vector<float> nhwc(in.size());
  for (int y = 0; y < 224 * 224; ++y)
    for (int c = 0; c < 3; ++c) nhwc[y * 3 + c] = __half2float(__float2half(in[c * 224 * 224 + y]));
  float* r_in;
  CK(cudaMalloc(&r_in, nhwc.size() * 4));
  CK(cudaMemcpy(r_in, nhwc.data(), nhwc.size() * 4, cudaMemcpyHostToDevice));
  CK(cudaMemset(d_arena, 0xff, 5 * BUF));
  std::vector<__half> hb(FB);
  std::vector<float> fb(FB);
  double worst = 0;
  int bad = -1;
  auto launch = [&](cudaStream_t s) { forward<<<dev.sms, kBlock, dev.smem, s>>>(net); };
  for (size_t p = 0; p < phases.size() - 2 && !getenv("P_NOCHECK"); ++p) {
    net.count = (int)p + 1;
    CK(cudaMemset(d_ctr, 0, 8));
    launch(0);
    CK(cudaDeviceSynchronize());
    if (members[p].empty()) {
      ref_pool<<<(FB + 255) / 256, 256>>>(r[0], r[1], 112, 112, 64);
      CK(cudaDeviceSynchronize());
    }
    for (size_t q = 0; q < std::max<size_t>(members[p].size(), 1); ++q) {
      uint32_t out;
      size_t n;
      if (members[p].empty()) {
        out = phases[p].out;
        n = 56 * 56 * 64;
      } else {
        Layer& l = layers[members[p][q]];
        auto& s = l.s;
        out = l.out;
        n = (size_t)s.OH * s.OW * s.N;
        CK(cudaMemcpy(rw, l.w.data(), l.w.size() * 4, cudaMemcpyHostToDevice));
        CK(cudaMemcpy(rb, l.b.data(), l.b.size() * 4, cudaMemcpyHostToDevice));
        ref_conv<<<(n + 255) / 256, 256>>>(s.kind == kStem ? r_in : r[l.in / BUF], rw, rb,
                                           l.res == kNone ? nullptr : r[l.res / BUF], r[out / BUF], s.H, s.W,
                                           s.kind == kStem ? 3 : s.C, s.OH, s.OW, s.N, l.R, s.stride, s.relu);
        CK(cudaDeviceSynchronize());
      }
      CK(cudaMemcpy(fb.data(), r[out / BUF], n * 4, cudaMemcpyDeviceToHost));
      CK(cudaMemcpy(hb.data(), d_arena + out, n * 2, cudaMemcpyDeviceToHost));
      double e = 0, t = 0;
      for (size_t i = 0; i < n; ++i) {
        double v = __half2float(hb[i]) - fb[i];
        e += v * v;
        t += (double)fb[i] * fb[i];
      }
      const double rel = std::sqrt(e / t);
      if (!(rel <= worst)) worst = rel;
      if (!(rel <= 5e-3) && bad < 0) {
        bad = (int)p;
        std::printf("phase %zu member %zu: relative error %g (norm %g)\n", p, q, rel, std::sqrt(t / n));
      }
    }
    if (bad >= 0) break;
  }
  unsigned fail;
  CK(cudaMemcpy(&fail, d_fail, 4, cudaMemcpyDeviceToHost));
  std::printf("layers: worst relative error %.3g, first bad phase %d, watchdog %u\n", worst, bad, fail);
  if (fail) return 1;
  net.count = (int)phases.size();
  CK(cudaMemset(d_ctr, 0, 8));
  cudaStream_t st;
  CK(cudaStreamCreate(&st));
  cudaGraph_t g;
  cudaGraphExec_t ge;
  CK(cudaStreamBeginCapture(st, cudaStreamCaptureModeGlobal));
  launch(st);
  CK(cudaStreamEndCapture(st, &g));
  CK(cudaGraphInstantiate(&ge, g, 0));
  cudaEvent_t e0, e1;
  cudaEventCreate(&e0);
  cudaEventCreate(&e1);
  std::vector<float> ts;
  for (int i = 0; i < 1200; ++i) {
    cudaEventRecord(e0, st);
    CK(cudaGraphLaunch(ge, st));
    cudaEventRecord(e1, st);
    CK(cudaStreamSynchronize(st));
    float ms;
    cudaEventElapsedTime(&ms, e0, e1);
    if (i >= 200) ts.push_back(ms);
  }
  std::sort(ts.begin(), ts.end());
  CK(cudaMemcpy(&fail, d_fail, 4, cudaMemcpyDeviceToHost));
  std::printf("graph launch: median %.4f ms, p1 %.4f, p99 %.4f, watchdog %u\n", ts[ts.size() / 2], ts[ts.size() / 100],
              ts[ts.size() * 99 / 100], fail);
  if (!getenv("P_TRACE")) return 0;
  // where the time goes: clock stamps of every block, median over launches
  const size_t nst = phases.size() * dev.sms * 8;
  CK(cudaFree(d_trace));
  long long* d_tr;
  CK(cudaMalloc(&d_tr, nst * 8));
  net.trace = d_tr;
  std::vector<long long> tr(nst);
  std::vector<std::vector<double>> acc(phases.size(), std::vector<double>(7, 0.0));
  const int reps = 20;
  for (int it = 0; it < reps; ++it) {
    CK(cudaMemset(d_tr, 0, nst * 8));
    launch(st);
    CK(cudaStreamSynchronize(st));
    CK(cudaMemcpy(tr.data(), d_tr, nst * 8, cudaMemcpyDeviceToHost));
    for (size_t p = 0; p + 2 < phases.size(); ++p) {
      if (phases[p].kind != kPhaseConv) continue;
      double s[7] = {};
      int n = 0;
      const int nb = std::min(dev.sms, phases[p].tiles);
      for (int b = 0; b < nb; ++b) {
        auto* q = &tr[(p * dev.sms + b) * 8];
        if (!q[1] || !q[6]) continue;
        ++n;
        for (int k = 0; k < 6; ++k) s[k] += (double)(q[k + 1] - q[k]);
        s[6] += p ? (double)(q[6] - tr[((p - 1) * dev.sms + b) * 8 + 6]) : 0;
      }
      for (int k = 0; k < 7; ++k) acc[p][k] += s[k] / n / reps;
    }
  }
  std::printf(
      "cycles by phase (mean over blocks): prologue->barrier exit | issue | A wait | mma | epilogue | arrive | "
      "whole\n");
  double tot[7] = {};
  for (size_t p = 0; p < phases.size(); ++p) {
    auto& c = phases[p].conv[0];
    for (int k = 0; k < 7; ++k) tot[k] += acc[p][k];
    if (phases[p].kind == kPhaseConv && (p < 28 || p > 88))
      std::printf(
          "%3zu %5.0f %5.0f %5.0f %5.0f %5.0f %5.0f | %6.0f  k%d s%d tiles %d C%d N%d M%d cfg%d w%d%d%d passes %d pf%d "
          "A%d B%d\n",
          p, acc[p][0], acc[p][1], acc[p][2], acc[p][3], acc[p][4], acc[p][5], acc[p][6], c.kind, c.stride,
          phases[p].tiles, c.C, c.N, c.M, c.cfg, c.wm, c.wn, c.wk, c.passes, phases[p].prefetch, A[p][0], B[p][0]);
  }
  std::printf("sum %6.0f %6.0f %6.0f %6.0f %6.0f %6.0f | %7.0f\n", tot[0], tot[1], tot[2], tot[3], tot[4], tot[5],
              tot[6]);
}
