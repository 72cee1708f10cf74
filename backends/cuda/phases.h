// One forward pass as the kernel reads it: a table of phases, made from layers and tiles when a plan is opened. Plain
// data, for the host's compiler and for nvcc.
#pragma once

#include <cstdint>

namespace ferry::latency {

enum : int { kConv1x1 = 0, kConv3x3 = 1, kStem = 2 };
enum : int { kPhaseConv = 0, kPhaseMaxPool = 1, kPhaseAvgPool = 2, kPhaseFc = 3 };
inline constexpr std::uint32_t kNone = 0xffffffffu;

/// A convolution of one image cut into tiles. Channels are padded to powers of two (see padded_channels).
struct alignas(16) ConvDesc {
  std::uint32_t in, out, residual, bias;  // byte offsets: in/out/residual into the arena, bias into the weights
  std::uint64_t weights;                  // byte offset into the weights
  int kind, stride, H, W, C, OH, OW, N, M, relu;
  int cfg;            // fragments of a warp: (log2 along M) * 4 + log2 along N
  int wm, wn, wk;     // warps along M, N, K: wm*wn*wk == 8
  int mt, nt;         // tiles along M and N
  int passes, chunk;  // channels per pass, chunk_shift = log2(chunk/8), step_shift = log2(chunk/32)
  int chunk_shift, step_shift;
  int pitch, k32;              // bytes from pixel to pixel in shared memory; steps of 32 along K in a pass
  int smem_a, smem_b, smem_r;  // byte offsets: activations (later partial sums), weights, bias and residual
  int tap_off[9];
  int late_residual;  // what is added was made in the phase just before: it may not be read before the grid has met
  int pad_;
};
static_assert(sizeof(ConvDesc) % 16 == 0);

struct alignas(16) Phase {
  int kind, convs, tiles, tiles0;  // of all images; tiles0: tiles of conv[0], which come first
  int prefetch;                    // this phase's first weights may be loaded during the phase before
  int H, W, C;                     // pools and classifier (H: classes)
  std::uint32_t in, out, bias, pad0;
  std::uint64_t weights;
  std::uint64_t pad1;
  ConvDesc conv[2];
};
static_assert(sizeof(Phase) % 16 == 0);

inline constexpr int kThreads = 256, kWarps = 8;  // that compute; one more warp keeps the grid together
inline constexpr int kBlock = kThreads + 32;
inline constexpr int kMaxImages = 8;  // of one launch

// Shared memory begins with 16 bytes of zeros (what a padded tap reads), the barrier of the weights, a flag, then a
// ring of phases.
inline constexpr int kBarB = 16, kFailed = 24, kRing = 64, kRingPhases = 4;
inline constexpr int kSmemHead = kRing + kRingPhases * static_cast<int>(sizeof(Phase));

/// The kernel's only parameter.
struct Net {
  const Phase* phases;
  int count;
  int images;
  const char* weights;
  char* arena;
  const float* input;  // [images, 3, height, width]
  float* output;       // [images, classes]
  unsigned* counter;   // [0] arrivals, monotonic over launches; [1] its value when this launch began
  unsigned* failed;    // in the host's memory; set when the watchdog fires
  long long watchdog;  // clock cycles
  long long* trace;    // optional: [phase][block][8] clock stamps, in a kernel compiled with TRACE
};

}  // namespace ferry::latency
