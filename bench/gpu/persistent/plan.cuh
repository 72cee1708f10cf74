// Device-side description of one forward pass: a list of phases; within a phase every tile is independent.
//
// A phase holds one or two convolutions (the second is a block's downsample). A convolution is cut into mt x nt tiles,
// a tile's K into passes; a (tile, pass) is an item. Items use two stacks of shared memory in turn, an even item from
// the bottom, an odd one from the top, so that one item's data arrive while the one before it is multiplied.
#pragma once
#include <cstdint>

enum : int { kConv1x1 = 0, kConv3x3 = 1, kStem = 2 };
enum : int { kPhaseConv = 0, kPhaseMaxPool = 1, kPhaseAvgPool = 2, kPhaseFc = 3 };
constexpr uint32_t kNone = 0xffffffffu;

struct alignas(16) ConvDesc {
  uint64_t weights;                  // byte offset into the weights: [n tile][pass][k32 step][n8][lane][8 halves]
  uint32_t in, out, residual, bias;  // byte offsets: in/out/residual into the arena, bias into the weights
  uint8_t kind, stride, relu;
  uint8_t cfg;         // log2(MF) * 4 + log2(NF): 16x8 fragments of a warp along M and N
  uint8_t wm, wn, wk;  // log2 of the warps along M, N, K; their sum is 3
  uint8_t passes;      // parts of K that a tile takes one after another
  uint8_t boxes;       // of 64 channels, a pass
  uint8_t chunks;      // loads a box: each `rows` rows of `width` pixels
  uint8_t pad0_;
  uint8_t tn;                 // log2 of a tile's channels
  int H, W, C, OH, OW, N, M;  // M = batch * OH * OW; pixels of the batch lie one image after another
  int mt, nt;                 // tiles
  int rows, width;
  int box_bytes;     // from one box to the next, a multiple of 1024
  int map;           // index of the tensor map (Hopper)
  int stack, a_off;  // bytes of a stack; of which the weights take [0, a_off)
  uint32_t by_ow, by_oh, by_nt;
  int span, pad_;  // boxes a load brings  // reciprocals: see magic()
};
static_assert(sizeof(ConvDesc) == 128);

// q = umulhi(n, magic(d)) is n / d for d > 1 while n * d < 2^32.
inline uint32_t magic(uint32_t d) { return d > 1 ? 0xffffffffu / d + 1 : 0; }

struct alignas(16) Phase {
  int kind, convs, tiles, tiles0;  // tiles0: tiles of conv[0]
  int conv[2];                     // indices of the convolutions
  int item0;                       // items of a block before this phase
  int per_tile;                    // items a tile takes: the larger of the convolutions' passes
  int H, W, C, batch;              // pools and the classifier (H: classes)
  uint32_t in, out, bias, pad_;
  uint64_t weights;
  uint64_t weight_bytes;  // convolutions too: what to bring into L2
};
static_assert(sizeof(Phase) == 80);
