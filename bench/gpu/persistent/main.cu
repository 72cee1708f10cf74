// Builds a ResNet-101 with seeded weights, checks every phase against a plain convolution in FP32, times a graph
// launch. Each argument is a variant: comma-separated settings, e.g. "batch=1,check=1,trace=1".
//
//   nvcc -std=c++20 -O3 -gencode=arch=compute_90,code=sm_90 -o persistent main.cu && ./persistent batch=1,check=1
//   batch=8
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstring>
#include <map>
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

struct Plan {
  std::vector<Phase> phases;
  std::vector<ConvDesc> convs;
  std::vector<std::vector<int>> members;  // convs of each phase (same order as layers)
  std::vector<double> cycles;
  double predicted = 0;
  uint32_t buffer = 0;
};

static bool make_plan(const Model& m, const Device& dev, int batch, Plan& plan, double barrier) {
  plan.buffer = batch * 112 * 112 * 64 * 2;
  const int np = (int)m.members.size(), room = dev.smem / 1024 * 1024 - table_bytes(np, (int)m.layers.size());
  int before = 0, item = 0, H = 112, C = 64;
  uint32_t out = 0;
  for (int p = 0; p < np; ++p) {
    Phase ph{};
    double cycles = 1500;
    std::vector<ConvDesc> d;
    if (m.members[p].empty()) {
      ph.kind = p == 1 ? kPhaseMaxPool : p + 1 < np ? kPhaseAvgPool : kPhaseFc;
      ph.H = ph.kind == kPhaseFc ? kClasses : H, ph.W = H, ph.C = C, ph.batch = batch;
      ph.in = out;
      out = ph.out = p == 1 ? plan.buffer : ((out / plan.buffer) + 1) % kBuffers * plan.buffer;
    } else {
      std::vector<ConvShape> sh;
      for (int l : m.members[p]) sh.push_back(m.layers[l].s), sh.back().batch = batch;
      if (!plan_phase(ph, d, sh, dev, room, before, cycles)) {
        std::printf("phase %d: no tile fits (before %d)\n", p, before);
        return false;
      }
      before = 0;
      for (size_t i = 0; i < d.size(); ++i) {
        const Layer& l = m.layers[m.members[p][i]];
        d[i].in = l.in == ~0u ? 0 : l.in * plan.buffer;
        d[i].out = l.out * plan.buffer;
        d[i].residual = l.res == ~0u ? kNone : l.res * plan.buffer;
        d[i].map = ph.conv[i] = (int)plan.convs.size();
        plan.convs.push_back(d[i]);
        before = std::max(before, d[i].stack);
      }
      out = d[0].out;
      H = d[0].OH, C = d[0].N;
    }
    ph.item0 = item;
    item += ph.kind == kPhaseConv ? (ph.tiles + dev.blocks - 1) / dev.blocks * ph.per_tile : 0;
    plan.phases.push_back(ph);
    plan.members.push_back(m.members[p]);
    plan.cycles.push_back(cycles);
    plan.predicted += cycles + barrier;
  }
  return true;
}

static std::vector<char> pack(const Model& m, Plan& plan) {
  std::vector<char> blob;
  auto put = [&](const void* d, size_t n) {
    size_t o = (blob.size() + 255) / 256 * 256;
    blob.resize(o + n);
    std::memcpy(blob.data() + o, d, n);
    return o;
  };
  blob.reserve(100 << 20);
  for (auto& l : m.layers) plan.convs[&l - m.layers.data()].bias = (uint32_t)put(l.b.data(), l.b.size() * 4);
  for (auto& ph : plan.phases) {
    if (ph.kind != kPhaseConv) continue;
    for (int q = 0; q < ph.convs; ++q) {
      ConvDesc& d = plan.convs[ph.conv[q]];
      const Layer& l = m.layers[ph.conv[q]];
      const int taps = desc_taps(d.kind), TN = desc_tn(d), slices = d.kind == kStem ? 1 : d.boxes * 2;
      std::vector<__half> pk((size_t)d.nt * d.passes * slices * taps * TN * 32);
      size_t o = 0;
      for (int nt = 0; nt < d.nt; ++nt)
        for (int ps = 0; ps < d.passes; ++ps)
          for (int sl = 0; sl < slices; ++sl)
            for (int tap = 0; tap < taps; ++tap)
              for (int n8 = 0; n8 < TN / 8; ++n8)
                for (int lane = 0; lane < 32; ++lane)
                  for (int e = 0; e < 8; ++e) {
                    const int n = nt * TN + n8 * 8 + lane / 4,
                              kk = 16 * (e >> 2) + (lane % 4) * 2 + 8 * ((e >> 1) & 1) + (e & 1);
                    float v = 0;
                    if (d.kind == kStem) {
                      const int kx = kk / 4 - 1, c = kk % 4;
                      if (kx >= 0 && c < 3) v = l.w[((tap * 7 + kx) * 3 + c) * 64 + n];
                    } else {
                      const int c = (ps * slices + sl) * 32 + kk;
                      v = l.w[((size_t)tap * d.C + c) * d.N + n];
                    }
                    pk[o++] = __float2half(v);
                  }
      d.weights = put(pk.data(), pk.size() * 2);
      if (q == 0) ph.weights = d.weights;
    }
    ph.weight_bytes = blob.size() - ph.weights;
  }
  std::vector<__half> fc(m.fcw.size());
  for (size_t i = 0; i < fc.size(); ++i) fc[i] = __float2half(m.fcw[i]);
  Phase& last = plan.phases.back();
  last.weights = put(fc.data(), fc.size() * 2);
  last.weight_bytes = fc.size() * 2;
  last.bias = (uint32_t)put(m.fcb.data(), m.fcb.size() * 4);
  return blob;
}

typedef CUresult (*EncodeTiled)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                                CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

static std::vector<CUtensorMap> make_maps(const Plan& plan, int batch, char* arena) {
  void* fn = nullptr;
  cudaDriverEntryPointQueryResult q;
  CK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &fn, 12000, cudaEnableDefault, &q));
  auto encode = (EncodeTiled)fn;
  std::vector<CUtensorMap> maps(plan.convs.size());
  for (auto& c : plan.convs) {
    if (c.kind == kStem) continue;
    const bool strided = c.kind == kConv1x1 && c.stride == 2;  // then [box][y][x][64], else [box][pixel][64]
    const cuuint64_t pixel = (cuuint64_t)c.C * 2;
    cuuint64_t dims[4] = {64, (cuuint64_t)batch * c.H * c.W, (cuuint64_t)c.C / 64, 1}, strides[3] = {pixel, 128, 0};
    cuuint32_t box[4] = {64, (cuuint32_t)c.rows, (cuuint32_t)c.span, 1}, ones[4] = {1, 1, 1, 1};
    if (strided) {
      dims[1] = c.OW, dims[2] = (cuuint64_t)batch * c.OH, dims[3] = c.C / 64;
      strides[0] = 2 * pixel, strides[1] = 2 * c.W * pixel, strides[2] = 128;
      box[1] = c.width, box[2] = c.rows, box[3] = c.span;
    }
    CUresult r = encode(&maps[c.map], CU_TENSOR_MAP_DATA_TYPE_FLOAT16, strided ? 4 : 3, arena + c.in, dims, strides,
                        box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (r != CUDA_SUCCESS) std::printf("tensor map %d: error %d\n", c.map, (int)r), std::exit(1);
  }
  return maps;
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

static double relative(const float* want, const __half* got, size_t n) {
  double e = 0, t = 0;
  for (size_t i = 0; i < n; ++i) {
    const double v = __half2float(got[i]) - want[i];
    e += v * v, t += (double)want[i] * want[i];
  }
  return std::sqrt(e / t);
}

struct Runner {
  Net net{};
  int blocks, smem;
  void launch(cudaStream_t st) {
    forward<<<blocks, kBlock, smem, st>>>(net);
    CK(cudaGetLastError());
  }
};

static void print_trace(const Plan& plan, Runner& run, bool all) {
  const int np = (int)plan.phases.size(), nb = run.blocks;
  const size_t n = (size_t)np * nb * 16;
  long long* d;
  CK(cudaMalloc(&d, n * 8));
  run.net.trace = d;
  std::vector<long long> tr(n);
  const int reps = 10;
  // 0 tile start, 1 data there, 2 products and parts written, 3 met, 4 stored, 5 phase end; 8 done seen, 9 arrived,
  // 10 grid met, 11 activations asked for
  std::vector<std::vector<double>> acc(np, std::vector<double>(10));
  for (int it = 0; it < reps; ++it) {
    CK(cudaMemset(d, 0, n * 8));
    run.launch(0);
    CK(cudaDeviceSynchronize());
    CK(cudaMemcpy(tr.data(), d, n * 8, cudaMemcpyDeviceToHost));
    for (int p = 1; p + 1 < np; ++p) {
      double s[10] = {};
      int cnt = 0, all_n = 0;
      for (int b = 0; b < nb; ++b) {
        const long long *q = &tr[((size_t)p * nb + b) * 16], *z = q + (size_t)nb * 16;
        s[6] += z[10] - q[10];
        if (q[5]) s[7] += z[10] - q[5], ++all_n;
        if (!q[0] || !q[4]) continue;
        ++cnt;
        s[0] += q[11] - q[10], s[1] += q[1] - q[10], s[2] += q[6] - q[1], s[3] += q[3] - q[6], s[4] += q[4] - q[3];
        s[5] += q[5] - q[4];
      }
      for (int k = 0; k < 6; ++k) acc[p][k] += cnt ? s[k] / cnt / reps : 0;
      acc[p][6] += s[6] / nb / reps, acc[p][7] += s[7] / std::max(all_n, 1) / reps;
    }
    if (it == reps - 1) {
      double s = 0, e = 0;
      for (int b = 0; b < nb; ++b) s += tr[((size_t)1 * nb + b) * 16 + 10] - tr[(size_t)b * 16 + 10];
      for (int b = 0; b < nb; ++b)
        e += tr[((size_t)(np - 1) * nb + b) * 16 + 5] - tr[((size_t)(np - 1) * nb + b) * 16 + 10];
      std::printf("phase 0: %.0f cycles; last phase after its barrier: %.0f\n", s / nb, e / nb);
    }
  }
  CK(cudaFree(d));
  run.net.trace = nullptr;
  std::printf(
      "phase: issue | data there | products | meet | epilogue | to arrival || whole | waiting for grid || model\n");
  double tot[8] = {}, model = 0;
  for (int p = 1; p + 1 < np; ++p) {
    for (int k = 0; k < 8; ++k) tot[k] += acc[p][k];
    model += plan.cycles[p];
    if (!all && p > 26 && p < np - 16 && p != 33 && p != 34 && p != 35) continue;
    std::printf("%3d %5.0f %5.0f %5.0f %4.0f %4.0f %4.0f || %5.0f %5.0f || %5.0f", p, acc[p][0], acc[p][1], acc[p][2],
                acc[p][3], acc[p][4], acc[p][5], acc[p][6], acc[p][7], plan.cycles[p]);
    for (int i = 0; i < plan.phases[p].convs; ++i) {
      const ConvDesc& c = plan.convs[plan.phases[p].conv[i]];
      std::printf(" | k%d s%d C%d N%d M%d %dx%d w%d%d%d t%dx%d p%d A%d B%d st%d", c.kind, c.stride, c.C, c.N, c.M,
                  desc_tm(c), desc_tn(c), 1 << c.wm, 1 << c.wn, 1 << c.wk, c.mt, c.nt, c.passes,
                  c.boxes * c.box_bytes / 1024, c.a_off / 1024, c.stack / 1024);
    }
    std::printf("\n");
  }
  std::printf("sum");
  for (double v : tot) std::printf(" %.0f", v);
  std::printf(" || %.0f\n", model);
}

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  cudaDeviceProp prop{};
  const bool have = cudaGetDeviceProperties(&prop, 0) == cudaSuccess;
  const int sms = have ? prop.multiProcessorCount : 132, smem = have ? (int)prop.sharedMemPerBlockOptin : 232448;
  std::printf("%s, %d SMs, %d bytes smem\n", have ? prop.name : "no GPU", sms, smem);
  const Model model = make_model();
  std::map<int, Reference> refs;
  if (have) {
    CK(cudaFuncSetAttribute(forward, cudaFuncAttributeMaxDynamicSharedMemorySize, smem));
  }
  bool failed = false;
  for (int a = 1; a < argc; ++a) {
    std::map<std::string, double> o{{"batch", 1}, {"runs", 1000}, {"barrier", 1500}};
    std::string text = argv[a] + std::string(","), item;
    for (char ch : text)
      if (ch == ',') {
        const size_t e = item.find('=');
        if (e != std::string::npos) o[item.substr(0, e)] = atof(item.c_str() + e + 1);
        item.clear();
      } else {
        item += ch;
      }
    Device dev;
    const int batch = (int)o["batch"];
    dev.smem = smem;
    dev.blocks = sms;
    if (o.count("l2")) dev.l2_bytes = o["l2"];
    if (o.count("lat")) dev.latency = o["lat"];
    if (o.count("step")) dev.step = o["step"];
    if (o.count("tile")) dev.tile = (int)o["tile"];
    if (o.count("ws")) dev.weights_share = o["ws"];
    Runner run{};
    run.smem = smem;
    run.blocks = dev.blocks;
    Plan plan;
    if (!make_plan(model, dev, batch, plan, o["barrier"])) continue;
    std::vector<char> blob = pack(model, plan);
    std::printf("== %s: %d blocks, %zu phases, weights %.1f MB, predicted %.3f ms\n", argv[a], dev.blocks,
                plan.phases.size(), blob.size() / 1e6, plan.predicted / 1.755e6);
    if (!have) {
      if (o.count("plan"))
        for (size_t p = 0; p < plan.phases.size(); ++p) {
          std::printf("%3zu %6.0f item %d tiles %d", p, plan.cycles[p], plan.phases[p].item0, plan.phases[p].tiles);
          for (int i = 0; i < plan.phases[p].convs; ++i) {
            const ConvDesc& c = plan.convs[plan.phases[p].conv[i]];
            std::printf(" | k%d s%d C%d N%d M%d %dx%d w%d%d%d t%dx%d p%d A%d B%d st%d rows %dx%d", c.kind, c.stride,
                        c.C, c.N, c.M, desc_tm(c), desc_tn(c), 1 << c.wm, 1 << c.wn, 1 << c.wk, c.mt, c.nt, c.passes,
                        c.boxes * c.box_bytes / 1024, c.a_off / 1024, c.stack / 1024, c.rows, c.chunks);
          }
          std::printf("\n");
        }
      continue;
    }
    char* d_arena;
    CK(cudaMalloc(&d_arena, (size_t)kBuffers * plan.buffer));
    const auto maps = make_maps(plan, batch, d_arena);
    Rng rng;
    std::vector<float> in((size_t)batch * 3 * 224 * 224);
    for (auto& v : in) v = rng.uniform();
    char* d_w = upload(blob);
    Phase* d_ph = upload(plan.phases);
    ConvDesc* d_cv = upload(plan.convs);
    CUtensorMap* d_maps = upload(maps);
    float *d_in = upload(in), *d_out;
    unsigned *d_ctr, *d_fail;
    CK(cudaMalloc(&d_out, batch * kClasses * 4));
    CK(cudaMemset(d_out, 0xff, batch * kClasses * 4));
    CK(cudaMalloc(&d_ctr, kShards * kShardStride * 4));
    CK(cudaMalloc(&d_fail, 4));
    CK(cudaMemset(d_fail, 0, 4));
    CK(cudaMemset(d_ctr, 0, kShards * kShardStride * 4));
    run.net = {d_ph,
               d_cv,
               (const char*)d_maps,
               (int)plan.phases.size(),
               (int)plan.convs.size(),
               d_w,
               d_arena,
               d_in,
               d_out,
               d_ctr,
               d_fail,
               200000000LL,
               nullptr};
    unsigned fail = 0;
    if (o.count("check")) {
      if (!refs.count(batch)) refs[batch] = make_reference(model, batch, in);
      const Reference& ref = refs[batch];
      CK(cudaMemset(d_arena, 0xff, (size_t)kBuffers * plan.buffer));
      std::vector<__half> got;
      double worst = 0;
      int bad = -1;
      for (size_t p = 0; p + 2 < plan.phases.size() && bad < 0 && !fail; ++p) {
        run.net.count = (int)p + 1;
        CK(cudaMemset(d_ctr, 0, kShards * kShardStride * 4));
        run.launch(0);
        CK(cudaDeviceSynchronize());
        CK(cudaMemcpy(&fail, d_fail, 4, cudaMemcpyDeviceToHost));
        const Phase& ph = plan.phases[p];
        for (int q = 0; q < std::max(ph.convs, 1); ++q) {
          const std::vector<float>& want = ph.convs ? ref.out[ph.conv[q]] : ref.pool;
          got.resize(want.size());
          CK(cudaMemcpy(got.data(), d_arena + (ph.convs ? plan.convs[ph.conv[q]].out : ph.out), got.size() * 2,
                        cudaMemcpyDeviceToHost));
          const double rel = relative(want.data(), got.data(), got.size());
          if (!(rel <= worst)) worst = rel;
          if (!(rel <= 3e-3) && bad < 0) {
            bad = (int)p;
            std::printf("phase %zu member %d: relative error %g\n", p, q, rel);
          }
        }
      }
      run.net.count = (int)plan.phases.size();
      CK(cudaMemset(d_ctr, 0, kShards * kShardStride * 4));
      if (!fail) run.launch(0);
      CK(cudaDeviceSynchronize());
      std::vector<float> y(batch * kClasses);
      CK(cudaMemcpy(y.data(), d_out, y.size() * 4, cudaMemcpyDeviceToHost));
      double e = 0, t = 0;
      for (size_t i = 0; i < y.size(); ++i) e += std::pow(y[i] - ref.head[i], 2.0), t += std::pow(ref.head[i], 2.0);
      const double head = std::sqrt(e / t);
      std::printf("layers: worst relative error %.3g, first bad phase %d, output %.3g, watchdog %u\n", worst, bad, head,
                  fail);
      if (fail || bad >= 0 || !(head <= 3e-3)) failed = true;
    }
    if (!fail) {
      cudaStream_t st;
      CK(cudaStreamCreate(&st));
      cudaGraph_t g;
      cudaGraphExec_t ge;
      CK(cudaStreamBeginCapture(st, cudaStreamCaptureModeGlobal));
      run.launch(st);
      CK(cudaStreamEndCapture(st, &g));
      CK(cudaGraphInstantiate(&ge, g, 0));
      cudaEvent_t e0, e1;
      cudaEventCreate(&e0);
      cudaEventCreate(&e1);
      std::vector<float> ts;
      const int runs = (int)o["runs"];
      for (int i = 0; i < runs + 100; ++i) {
        cudaEventRecord(e0, st);
        CK(cudaGraphLaunch(ge, st));
        cudaEventRecord(e1, st);
        CK(cudaStreamSynchronize(st));
        float ms;
        cudaEventElapsedTime(&ms, e0, e1);
        if (i >= 100) ts.push_back(ms);
      }
      std::sort(ts.begin(), ts.end());
      CK(cudaMemcpy(&fail, d_fail, 4, cudaMemcpyDeviceToHost));
      std::printf("graph launch: median %.4f ms, p1 %.4f, p99 %.4f, watchdog %u\n", ts[ts.size() / 2],
                  ts[ts.size() / 100], ts[ts.size() * 99 / 100], fail);
      if (fail) failed = true;
      if (o.count("trace")) print_trace(plan, run, o["trace"] > 1);
    }
    cudaFree(d_arena), cudaFree(d_w), cudaFree(d_ph), cudaFree(d_cv), cudaFree(d_maps), cudaFree(d_in), cudaFree(d_out);
    cudaFree(d_ctr), cudaFree(d_fail);
  }
  return failed;
}
