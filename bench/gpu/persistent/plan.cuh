// Device-side description of one forward pass: a list of phases; within a phase every tile is independent.
#pragma once
#include <cstdint>

enum : int { kConv1x1 = 0, kConv3x3 = 1, kStem = 2 };
enum : int { kPhaseConv = 0, kPhaseMaxPool = 1, kPhaseAvgPool = 2, kPhaseFc = 3 };
constexpr uint32_t kNone = 0xffffffffu;

struct alignas(16) ConvDesc {
  uint32_t in, out, residual, bias;  // byte offsets: in/out/residual into the arena, bias into the weights
  uint64_t weights;                  // byte offset into the weights
  int kind, stride, H, W, C, OH, OW, N, M, relu;
  int cfg;            // template index
  int wm, wn, wk;     // warps along M, N, K: wm*wn*wk == 8
  int mt, nt;         // tiles
  int passes, chunk;  // channels per pass, chunk_shift = log2(chunk/8), step_shift = log2(chunk/32)
  int chunk_shift, step_shift;
  int pitch, k32;
  int smem_a, smem_b, smem_r;  // byte offsets: activations (later partial sums), weights, bias and residual
  int tap_off[9];
  int pad_[2];
};
static_assert(sizeof(ConvDesc) % 16 == 0);

struct alignas(16) Phase {
  int kind, convs, tiles, tiles0;  // tiles0: tiles of conv[0]
  int prefetch;                    // this phase's first B tile may be loaded during the phase before
  int H, W, C;                     // pools
  uint32_t in, out, bias, pad0;
  uint64_t weights;
  uint64_t pad1;
  ConvDesc conv[2];
};
static_assert(sizeof(Phase) % 16 == 0);
