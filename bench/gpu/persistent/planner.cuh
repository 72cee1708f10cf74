// Chooses a tile shape for every layer by a small model of what a phase costs, in clock cycles.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "plan.cuh"

struct Device {
  int blocks = 132;  // of the grid
  int smem = 227 * 1024;
  double l2_bytes = 27;         // a cycle and multiprocessor, all of them reading
  int tile = 8192;              // largest tile
  double latency = 500;         // of activations
  double mma = 8;               // cycles of m16n8k16 on a quarter of a multiprocessor
  double step = 60;             // of a warp, between steps of 32 channels
  double tail = 400;            // of a tile: meeting, summing, storing
  double store = 0.18;          // and so much for each of its elements
  double weights_share = 0.15;  // of the first item's time of weights that is not hidden
};

struct ConvShape {
  int kind, stride, H, W, C, OH, OW, N, relu, batch;
};

struct Candidate {
  ConvDesc d;
  double cycles;
};

inline int align_up(int v, int a) { return (v + a - 1) / a * a; }
inline int desc_tm(const ConvDesc& d) { return 16 << (d.wm + (d.cfg >> 2)); }
inline int desc_tn(const ConvDesc& d) { return 8 << (d.wn + (d.cfg & 3)); }
inline int desc_taps(int kind) { return kind == kConv3x3 ? 9 : kind == kConv1x1 ? 1 : 7; }

// Pixels a tile needs at most.
inline int tile_pixels(const ConvShape& s, int TM, int M, int mt) {
  if (s.kind == kConv1x1 && s.stride == 1) return std::min(TM, align_up(M, 8));
  if (s.kind == kConv3x3 && s.stride == 1) return TM + 2 * s.W + 2;
  int most = 0;
  for (int t = 0; t < mt; ++t) {
    const int rows = (std::min((t + 1) * TM, M) - 1) / s.OW - t * TM / s.OW;
    most = std::max(most, s.kind == kConv1x1 ? rows + 1 : (2 * rows + 3) * s.W);
  }
  return most;  // the strided 1x1: rows
}

inline bool place(ConvDesc& d, const ConvShape& s, const Device& dev) {
  const int TM = desc_tm(d), TN = desc_tn(d), taps = desc_taps(d.kind);
  int a;
  if (s.kind == kStem) {
    const int rows = (TM - 2) / s.OW + 2;
    d.boxes = 1, d.chunks = 1, d.rows = 0, d.width = 0, d.box_bytes = 0;
    a = (2 * (rows - 1) + 7) * (s.W + 8) * 8;
  } else {
    d.boxes = s.C / d.passes / 64;
    const int n = tile_pixels(s, TM, d.M, d.mt);
    if (s.kind == kConv1x1 && s.stride == 2) {
      d.chunks = 1, d.rows = n, d.width = s.OW, d.span = 1;
    } else {
      d.width = 1;
      d.chunks = (n + 255) / 256;
      d.rows = align_up((n + d.chunks - 1) / d.chunks, 8);
      d.span = d.chunks > 1 ? 1 : d.boxes;
    }
    if (d.rows > 256) return false;
    d.box_bytes = align_up(d.chunks * d.rows * d.width * 128, 1024);
    a = d.boxes * d.box_bytes;
  }
  const int b = (s.kind == kStem ? 1 : d.boxes * 2) * taps * TN * 64, red = (TM * (TN + 8) * 4 << d.wk);
  d.a_off = align_up(b, 1024);
  d.stack = d.a_off + align_up(std::max(a, red), 1024);
  return true;
}

// Cycles of a phase in which a block takes `waves` of these tiles, from the first byte asked for to the last stored.
// Constants fitted to traces on an H100 (docs/benchmarks/log.md).
inline double cost(const ConvDesc& d, const ConvShape& s, const Device& dev, int waves) {
  const int TM = desc_tm(d), TN = desc_tn(d), MF = 1 << (d.cfg >> 2), NF = 1 << (d.cfg & 3), taps = desc_taps(d.kind);
  const int slices = s.kind == kStem ? 1 : d.boxes * 2;
  const double steps = std::ceil((double)slices / (1 << d.wk)) * taps;  // of a warp, a pass
  const double tensor = steps * MF * NF * 2 * dev.mma * 2, shared = steps * 8 * (MF * 1024 + NF * 512) / 128.0,
               chain = steps * (dev.step + MF * NF * 2 * dev.mma);
  const double products = std::max({tensor, shared, chain}) + (s.kind == kConv3x3 ? 30 * steps : 0) + 250;
  const double a = s.kind == kStem ? 20000 : (double)d.boxes * d.box_bytes, b = (double)slices * taps * TN * 64;
  const double load = (a + b) / dev.l2_bytes;
  const double tail = dev.tail + TM * TN * dev.store + (double)(1 << d.wk) * TM * TN / 128;
  const int items = waves * d.passes;
  return dev.latency + a / dev.l2_bytes + products + (items - 1) * std::max(products + tail / d.passes, load) + tail +
         dev.weights_share * b / dev.l2_bytes;
}

inline std::vector<Candidate> candidates(const ConvShape& s, const Device& dev, int stack_limit) {
  std::vector<Candidate> out;
  for (int mi = 0; mi < 2; ++mi)
    for (int ni = 0; ni < 3; ++ni)
      for (int wm = 0; wm <= 3; ++wm)
        for (int wn = 0; wm + wn <= 3; ++wn)
          for (int passes = 1; passes <= 8; passes *= 2) {
            ConvDesc d{};
            d.kind = s.kind, d.stride = s.stride, d.H = s.H, d.W = s.W, d.C = s.C, d.OH = s.OH, d.OW = s.OW, d.N = s.N;
            d.M = s.batch * s.OH * s.OW, d.relu = s.relu;
            d.cfg = mi * 4 + ni;
            d.wm = wm, d.wn = wn, d.wk = 3 - wm - wn, d.passes = passes, d.tn = 3 + wn + ni;
            const int TM = desc_tm(d), TN = desc_tn(d);
            if (s.N % TN) continue;
            if (s.kind == kStem && (d.cfg != 6 || d.wk > 0 || passes > 1)) continue;
            if (s.kind != kStem && (s.C % (64 * passes) || s.C / passes / 32 < 1 << d.wk)) continue;
            d.mt = s.kind == kStem ? s.batch * ((s.OH * s.OW + TM - 1) / TM) : (d.M + TM - 1) / TM;
            d.nt = s.N / TN;
            d.by_ow = magic(s.OW), d.by_oh = magic(s.OH), d.by_nt = magic(d.nt);
            const int tiles = d.mt * d.nt, waves = (tiles + dev.blocks - 1) / dev.blocks;
            if (!place(d, s, dev) || d.stack > stack_limit) continue;
            if (TM * TN > dev.tile && s.kind != kStem) continue;
            out.push_back({d, cost(d, s, dev, waves)});
          }
  return out;
}

// Chooses tiles for a phase of one or two convolutions; `before`: bytes of the stack in use by the phase before.
inline bool plan_phase(Phase& ph, std::vector<ConvDesc>& descs, const std::vector<ConvShape>& shapes, const Device& dev,
                       int room, int before, double& cycles) {
  const int limit = std::min(room - before, 108 * 1024);
  std::vector<std::vector<Candidate>> c;
  for (auto& s : shapes) c.push_back(candidates(s, dev, limit));
  double best = 1e30;
  auto waves = [&](int tiles) { return (tiles + dev.blocks - 1) / dev.blocks; };
  auto fits = [&](const ConvDesc& d, int w) { return w * d.passes == 1 || d.stack * 2 <= room; };
  for (auto& i : c[0]) {
    const int t0 = i.d.mt * i.d.nt;
    if (shapes.size() == 1) {
      if (i.cycles < best && fits(i.d, waves(t0))) best = i.cycles, descs = {i.d};
      continue;
    }
    for (auto& j : c[1]) {
      const int w = waves(t0 + j.d.mt * j.d.nt);
      const double v = std::max(cost(i.d, shapes[0], dev, w), cost(j.d, shapes[1], dev, w));
      if (v < best && fits(i.d, 2) && fits(j.d, 2)) best = v, descs = {i.d, j.d};
    }
  }
  if (best > 1e29) return false;
  ph.kind = kPhaseConv;
  ph.convs = (int)shapes.size();
  ph.tiles0 = descs[0].mt * descs[0].nt;
  ph.tiles = ph.tiles0 + (descs.size() > 1 ? descs[1].mt * descs[1].nt : 0);
  ph.per_tile = descs[0].passes;
  if (descs.size() > 1) ph.per_tile = std::max<int>(ph.per_tile, descs[1].passes);
  cycles = best;
  return true;
}
