// One forward pass as the kernel reads it: a table of phases, made from layers and tiles when a plan is opened. Plain
// data, for the host's compiler and for nvcc.
//
// A phase holds one or two convolutions (the second is a block's downsample). A convolution is cut into mt x nt tiles,
// a tile's K into passes; a (tile, pass) is an item. Items use two stacks of shared memory in turn, an even item from
// the bottom, an odd one from the top, so that one item's data arrive while the one before it is multiplied.
//
// Or it is a chain: two or three convolutions that follow each other, of which a cluster of blocks takes some pixels
// through all (chains.h). Each block has an eighth of the channels, and what one makes for all goes through their
// shared memory: the 3x3's results are gathered, the last one's sums are exchanged in parts.
#pragma once

#include <cstdint>

namespace ferry::latency {

enum : int { kConv1x1 = 0, kConv3x3 = 1, kStem = 2 };
enum : int { kPhaseConv = 0, kPhaseMaxPool = 1, kPhaseAvgPool = 2, kPhaseFc = 3, kPhaseChain = 4 };
inline constexpr std::uint32_t kNone = 0xffffffffu;

/// Flags of a convolution: what it reads (activations and weights) and what it writes is int8, not float16. In an INT8
/// network the first convolution only writes int8, and the last before the global average only reads it.
enum : int { kInt8In = 1, kInt8Out = 2 };

/// A convolution of the whole batch. Channels are padded to powers of two (see padded_channels). What the tensor cores
/// read has the same order of bytes in both precisions, so `C` counts pairs of bytes: float16 channels, or half as many
/// as there are int8 channels. A pixel of int8 takes at least 128 bytes; what lies beyond its channels is never written
/// and meets weights that are zero.
struct alignas(16) ConvDesc {
  std::uint64_t weights;  // byte offset into the weights: [n tile][pass][step of 64 bytes][n8][lane][16 bytes]
  // Byte offsets: in/out/residual into the arena; bias into the weights, where N floats lie, and in an INT8 network
  // behind them the N factors of the sums.
  std::uint32_t in, out, residual, bias;
  std::uint8_t kind, stride, relu;
  std::uint8_t cfg;         // log2(MF) * 4 + log2(NF): 16x8 fragments of a warp along M and N
  std::uint8_t wm, wn, wk;  // log2 of the warps along M, N, K; their sum is 3
  std::uint8_t passes;      // parts of K that a tile takes one after another
  std::uint8_t boxes;       // of 128 bytes, a pass
  std::uint8_t chunks;      // loads a box: each `rows` rows of `width` pixels
  std::uint8_t flags;
  std::uint8_t tn;            // log2 of a tile's channels
  int H, W, C, OH, OW, N, M;  // M = batch * OH * OW; pixels of the batch lie one image after another
  int mt, nt;                 // tiles
  int rows, width;
  int box_bytes;                      // from one box to the next, a multiple of 1024
  int map;                            // index of the tensor map (Hopper)
  int stack, a_off;                   // bytes of a stack; of which the weights take [0, a_off)
  std::uint32_t by_ow, by_oh, by_nt;  // reciprocals: see magic()
  int span;                           // boxes a load brings
  float residual_factor;              // of an int8 residual's values
};
static_assert(sizeof(ConvDesc) == 128);

/// Whether activations come as every second pixel of every second row: a box then has a dimension more, also where a
/// row is one pixel.
constexpr bool strided(const ConvDesc& c) { return c.kind == kConv1x1 && c.stride == 2; }

/// Elements from one pixel to the next: of what a convolution writes, and of an int8 tensor of N channels.
constexpr int int8_pitch(int channels) { return channels < 128 ? 128 : channels; }
constexpr int out_pitch(const ConvDesc& c) { return c.flags & kInt8Out ? int8_pitch(c.N) : c.N; }

/// q = umulhi(n, magic(d)) is n / d for d > 1 while n * d < 2^32.
inline std::uint32_t magic(std::uint32_t d) { return d > 1 ? 0xffffffffu / d + 1 : 0; }

struct alignas(16) Phase {
  std::int16_t kind, convs;
  int tiles, tiles0;   // tiles0: tiles of conv[0], which come first; of a chain: blocks that work
  int conv[3];         // indices of the convolutions
  int item0;           // items of a block before this phase
  int per_tile;        // items a tile takes: the larger of the convolutions' passes; of a chain: all that a block takes
  int H, W, C, batch;  // pools and the classifier (H: classes); C as a convolution's
  std::uint32_t in, out, bias;
  std::uint32_t int8;  // max pooling: of int8
  std::uint64_t weights;
  std::uint64_t weight_bytes;  // convolutions too: what to bring into L2
};
static_assert(sizeof(Phase) == 80);

inline constexpr int kThreads = 256, kWarps = 8;  // that multiply; one more warp feeds
inline constexpr int kBlock = kThreads + 32;
inline constexpr int kShards = 8, kShardStride = 64;  // the grid's counter, in parts 256 bytes from each other
inline constexpr int kMaxImages = 8;                  // of one launch

// A cluster's blocks and what they take through a chain: pixels, and the channels of the inner and outer tensors.
inline constexpr int kCluster = 8, kChainPixels = 16, kChainInner = 256, kChainOuter = 1024;

// Shared memory: zeros at 0 and 32, 16 bytes each (what a padded tap reads), the barriers of the two stacks, a flag,
// the two barriers of a chain's exchange; then the table of phases and convolutions; then what a chain exchanges, if
// there is one; then the stacks.
inline constexpr int kFull = 16, kEmpty = 48, kFailed = 64, kExchange = 72, kTable = 96;
// Of a chain: the 3x3's results of all blocks, parts of sums from all blocks, a block's own results between.
inline constexpr int kGatheredBytes = kChainPixels * kChainInner * 2, kPartsBytes = kChainPixels * kChainInner * 4,
                     kOwnBytes = kChainPixels * kChainOuter / kCluster * 2,
                     kExchangeBytes = kGatheredBytes + kPartsBytes + kOwnBytes;
static_assert(kGatheredBytes % 1024 == 0 && kPartsBytes % 1024 == 0 && kExchangeBytes % 1024 == 0);
inline constexpr int kClassifierBytes = kWarps * 4096 + 8192;  // of the stacks' room
constexpr int table_bytes(int phases, int convs) {
  return (kTable + phases * static_cast<int>(sizeof(Phase)) + convs * static_cast<int>(sizeof(ConvDesc)) + 1023) /
         1024 * 1024;
}

/// The kernel's only parameter.
struct Net {
  const Phase* phases;
  const ConvDesc* convs;
  const char* maps;  // 128 bytes each; only the copy engine of compute capability 9.0 and later reads them
  int count, convs_count;
  int exchange;  // bytes between the table and the stacks: kExchangeBytes in clusters, or 0
  const char* weights;
  char* arena;
  const float* input;  // [batch, 3, height, width]
  float* output;       // [batch, classes]
  unsigned* counter;   // kShards of them, monotonic over launches; 32 words behind each its value as the launch began
  unsigned* failed;    // in the host's memory; set when the watchdog fires: the counters must then be cleared
  long long watchdog;  // clock cycles
  long long* clocks;   // optional: [count + 1] cycles at which the first block saw each phase begin, and the end
  long long* trace;    // optional: [phase][block][16] clock stamps, in a kernel compiled with TRACE
};

}  // namespace ferry::latency
