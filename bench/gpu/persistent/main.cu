// Builds a ResNet-101 with seeded weights, checks every phase against a plain convolution in FP32, times a graph
// launch. Each argument is a variant: comma-separated settings, e.g. "batch=1,check=1,trace=1".
//
//   nvcc -std=c++20 -O3 -gencode=arch=compute_90,code=sm_90 -o persistent main.cu && ./persistent batch=1,check=1
//   batch=8
#include <algorithm>
#include <map>
#include <string>

#include "program.cuh"

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
    std::map<std::string, double> o{{"batch", 1}, {"runs", 1000}, {"barrier", 2600}, {"watchdog", 2e8}};
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
    if (o.count("tail")) dev.tail = o["tail"];
    if (o.count("store")) dev.store = o["store"];
    if (o.count("mma")) dev.mma = o["mma"];
    if (o.count("ws")) dev.weights_share = o["ws"];
    Runner run{};
    run.smem = smem;
    run.blocks = dev.blocks;
    Plan plan;
    if (!make_plan(model, dev, batch, plan, o["barrier"])) continue;
    std::vector<char> blob = pack(model, plan);
    std::printf("== %s: %d blocks, %zu phases, weights %.1f MB, predicted %.3f ms\n", argv[a], dev.blocks,
                plan.phases.size(), blob.size() / 1e6, plan.predicted / 1.9e6);
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
               (long long)o["watchdog"],
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
