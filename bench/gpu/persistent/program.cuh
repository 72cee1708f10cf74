// From the model to what the kernel reads: phases and tiles, packed weights, tensor maps.
#pragma once
#include <cuda.h>

#include <cstring>

#include "kernel.cuh"
#include "model.cuh"

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
