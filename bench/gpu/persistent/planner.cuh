// Chooses a tile shape for every layer by a small model of what a phase costs.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "plan.cuh"

struct Device {
  int sms = 132;
  int smem = 227 * 1024;
  double bw = 42.0;
  double bf = 0.35;
  double stepc = 55.0;
  double clk = 1.6;
};

struct ConvShape {
  int kind, stride, H, W, C, OH, OW, N, relu;
};

struct Candidate {
  ConvDesc d;
  int a_bytes, b_bytes;
  double ns;
};

inline int align_up(int v, int a) { return (v + a - 1) / a * a; }

inline std::vector<Candidate> candidates(const ConvShape& s, const Device& dev, int head) {
  std::vector<Candidate> out;
  const int mf_of[] = {1, 2}, nf_of[] = {1, 2, 4};
  for (int mi = 0; mi < 2; ++mi)
    for (int ni = 0; ni < 3; ++ni)
      for (int wm = 1; wm <= 8; wm *= 2)
        for (int wn = 1; wm * wn <= 8; wn *= 2) {
          const int wk = 8 / (wm * wn), MF = mf_of[mi], NF = nf_of[ni];
          const int TM = wm * MF * 16, TN = wn * NF * 8;
          if (TN > s.N || s.N % TN) continue;
          for (int passes = 1; passes <= 16; passes *= 2) {
            ConvDesc d{};
            d.kind = s.kind;
            d.stride = s.stride;
            d.H = s.H;
            d.W = s.W;
            d.C = s.C;
            d.OH = s.OH;
            d.OW = s.OW;
            d.N = s.N;
            d.relu = s.relu;
            d.M = s.OH * s.OW;
            d.cfg = mi * 4 + ni;
            d.wm = wm;
            d.wn = wn;
            d.wk = wk;
            d.mt = (d.M + TM - 1) / TM;
            d.nt = s.N / TN;
            d.passes = passes;
            int taps = s.kind == kConv1x1 ? 1 : s.kind == kConv3x3 ? 9 : 7, slots = 0;
            if (s.kind == kStem) {
              if (passes > 1) break;
              d.chunk = 32;
              d.pitch = 0;
            } else {
              if (s.C % passes || s.C / passes < 32 || (s.C / passes) % 32) break;
              d.chunk = s.C / passes;
              d.pitch = d.chunk * 2 + 16;
            }
            d.k32 = taps * d.chunk / 32;
            d.step_shift = (int)std::lround(std::log2(d.chunk / 32));
            d.chunk_shift = (int)std::lround(std::log2(d.chunk / 8.0));
            if ((32 << d.step_shift) != d.chunk) break;  // power of two only
            for (int t = 0; t < d.mt; ++t) {
              int m0 = t * TM, last = std::min(m0 + TM, d.M) - 1, n;
              if (s.kind == kConv1x1)
                n = last - m0 + 1;
              else if (s.kind == kConv3x3 && s.stride == 1)
                n = std::min(s.H * s.W, last + s.W + 2) - std::max(0, m0 - s.W - 1);
              else if (s.kind == kConv3x3)
                n = std::min(s.H * s.W, (2 * (last / s.OW) + 2) * s.W) - std::max(0, (2 * (m0 / s.OW) - 1) * s.W);
              else
                n = (2 * (last / s.OW) + 7 - 2 * (m0 / s.OW)) * (s.W + 8);
              slots = std::max(slots, n);
            }
            int a = s.kind == kStem ? slots * 8 : std::max(slots, TM) * d.pitch;
            const int red = wk * TM * (TN == 8 ? 8 : TN + 8) * 4, b = TN / 8 * d.k32 * 512;
            const int a_place = align_up(std::max(a, red), 128) + align_up(TN * 4 + TM * TN * 2, 128);
            if (head + a_place + b > dev.smem) continue;
            for (int t = 0; t < 9; ++t)
              d.tap_off[t] = s.kind == kConv3x3 ? ((t / 3 - 1) * s.W + t % 3 - 1) * d.pitch
                             : s.kind == kStem  ? t * (s.W + 8) * 8
                                                : 0;
            const int steps = (d.k32 + wk - 1) / wk * passes;
            const double mma_clk = steps * std::max(MF * NF * 2 * 2 * 6.5, dev.stepc + MF * NF * 2 * 6.5);
            const double red_clk = (double)red * 2 / 100 + 60;
            const double ns =
                700.0 * passes +
                passes * (a * (s.kind == kStem ? 3.0 : 1.0) + dev.bf * b + (passes > 1 ? 0.65 * b : 0)) / dev.bw +
                (mma_clk + red_clk) / dev.clk + TM * TN * 2 / dev.bw / 2;
            out.push_back({d, a_place, b, ns});
          }
        }
  return out;
}

// Chooses tiles for a phase of one or two convolutions.
inline void plan_phase(Phase& ph, const std::vector<ConvShape>& shapes, const Device& dev, int head,
                       std::vector<int>& a, std::vector<int>& b, double& ns) {
  std::vector<std::vector<Candidate>> c;
  for (auto& s : shapes) {
    auto v = candidates(s, dev, head);
    if (v.empty()) {
      std::fprintf(stderr, "no tile fits\n");
      std::exit(1);
    }
    c.push_back(v);
  }
  double best = 1e30;
  int bi = 0, bj = 0;
  for (int i = 0; i < (int)c[0].size(); ++i) {
    const int t0 = c[0][i].d.mt * c[0][i].d.nt;
    if (shapes.size() == 1) {
      const double v = std::ceil((double)t0 / dev.sms) * c[0][i].ns;
      if (v < best) best = v, bi = i;
    } else
      for (int j = 0; j < (int)c[1].size(); ++j) {
        const int t1 = c[1][j].d.mt * c[1][j].d.nt;
        const double v = std::ceil((double)(t0 + t1) / dev.sms) * std::max(c[0][i].ns, c[1][j].ns);
        if (v < best) best = v, bi = i, bj = j;
      }
  }
  ph.kind = kPhaseConv;
  ph.convs = (int)shapes.size();
  ph.conv[0] = c[0][bi].d;
  a = {c[0][bi].a_bytes};
  b = {c[0][bi].b_bytes};
  ph.tiles0 = ph.conv[0].mt * ph.conv[0].nt;
  ph.tiles = ph.tiles0;
  if (shapes.size() > 1) {
    ph.conv[1] = c[1][bj].d;
    a.push_back(c[1][bj].a_bytes);
    b.push_back(c[1][bj].b_bytes);
    ph.tiles += ph.conv[1].mt * ph.conv[1].nt;
  }
  ns = best;
}
