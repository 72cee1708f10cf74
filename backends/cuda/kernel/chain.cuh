// A chain: the 3x3 and the last 1x1 convolution of a bottleneck and the first 1x1 of the next one, without the grid's
// meeting between them. A cluster of eight blocks takes 16 pixels through all of them, each block an eighth of the
// channels:
//
//   inner  the 3x3, 32 of 256 channels; the results go to all eight blocks, which need all of them
//   outer  128 of 1024 channels, plus residual; kept here as well as stored
//   next   all 256 channels, of the block's own 128 of K: parts of sums, which go to the block that has the channels
//
// Blocks write into each other's shared memory, and a barrier there counts the bytes. Each place is used once in a
// phase, and the grid meets between phases, so nobody overwrites what is still read.
#pragma once
#include "cuda/kernel/multiply.cuh"

#ifdef FERRY_BULK
namespace ferry::latency {

constexpr int kInnerShare = kChainInner / kCluster, kOuterShare = kChainOuter / kCluster;
constexpr int kBoxBytes = kChainPixels * 128;               // of pixels in shared memory: 128 bytes of each, swizzled
constexpr int kPartBytes = kChainPixels * kInnerShare * 4;  // a block's part of another one's sums
static_assert(kChainPixels * (kChainInner + 8) * 4 >= kPartsBytes, "parts wait where sums would be");
static_assert(kInnerShare == 32 && kChainInner == kWarps * kInnerShare, "a warp's sums are one block's channels");

struct Places {
  uint32_t gathered, parts, own, bars;
  __device__ __forceinline__ explicit Places(const Shared s)
      : gathered(s.low - kExchangeBytes),
        parts(gathered + kGatheredBytes),
        own(parts + kPartsBytes),
        bars(head() + kExchange) {}
};

// Where byte `at` of a pixel lies, as the copy engine would have put it.
__device__ __forceinline__ uint32_t in_boxes(int row, int at) {
  return (at >> 7) * kBoxBytes + row * 128 + (((at >> 4 & 7) ^ (row & 7)) << 4) + (at & 15);
}

// Bias, in an INT8 network also the factor, of some channels.
template <typename Vector>
__device__ __forceinline__ Vector factors_at(const Net& net, const ConvDesc& c, int n) {
  return __ldg(reinterpret_cast<const Vector*>(net.weights + c.bias + n * 4));
}
template <bool INT8>
__device__ __forceinline__ Factors factors_of(const Net& net, const ConvDesc& c, int n) {
  Factors f;
  f.bias = factors_at<float4>(net, c, n);
  if constexpr (INT8) f.scale = factors_at<float4>(net, c, c.N + n);
  return f;
}

// Four channels from the warps' parts of the sums.
template <bool INT8, int SHARE>
__device__ __forceinline__ float4 four_of(const ConvDesc& c, uint32_t red, int row, int col, const Factors& f) {
  constexpr int kRow = SHARE + 8;
  const char* part = smem + (red + (row * kRow + col) * 4 - head());
  float4 a = f.bias;
  if constexpr (INT8) {
    int4 sum = make_int4(0, 0, 0, 0);
    add_parts(sum, part, 1 << c.wk, kChainPixels * kRow * 4);
    add_scaled(a, make_float4(sum.x, sum.y, sum.z, sum.w), f.scale);
  } else {
    add_parts(a, part, 1 << c.wk, kChainPixels * kRow * 4);
  }
  return a;
}

// The end of the 3x3: eight channels a thread, sent to two of the blocks; a quarter of the threads store them as well.
template <bool INT8>
__device__ __forceinline__ void give_to_all(const Net& net, const ConvDesc& c, const Places& to, uint32_t red, int m0,
                                            const Factors (&f)[2]) {
  const int col = (threadIdx.x & 3) * 8, row = threadIdx.x >> 2 & 15, pair = threadIdx.x >> 6,
            n = cluster_rank() * kInnerShare + col;
  const float4 a = four_of<INT8, kInnerShare>(c, red, row, col, f[0]),
               b = four_of<INT8, kInnerShare>(c, red, row, col + 4, f[1]);
  const bool relu = c.relu;
  std::conditional_t<INT8, uint2, uint4> v;
  if constexpr (INT8) {
    v = make_uint2(to_int8(clipped(a, relu)), to_int8(clipped(b, relu)));
  } else {
    const uint2 lo = to_halves(a, relu), hi = to_halves(b, relu);
    v = make_uint4(lo.x, lo.y, hi.x, hi.y);
  }
  const uint32_t at = to.gathered + in_boxes(row, n * (INT8 ? 1 : 2));
#pragma unroll
  for (int q = 0; q < 2; ++q) send(of_peer(at, pair * 2 + q), v, of_peer(to.bars, pair * 2 + q));
  if (pair == 0 && m0 + row < c.M)
    *reinterpret_cast<decltype(v)*>(net.arena + c.out +
                                    (INT8 ? (m0 + row) * out_pitch(c) + n : ((m0 + row) * c.N + n) * 2)) = v;
}

// A thread's part of the outer convolution: four channels of two pixels. Its residual is older than this phase.
template <bool INT8>
struct Outer {
  int col, n;
  Factors factors;
  Residual<INT8> residual;

  __device__ __forceinline__ Outer(const Net& net, const ConvDesc& c, int m0)
      : col((threadIdx.x & 31) * 4), n(cluster_rank() * kOuterShare + col), factors(factors_of<INT8>(net, c, n)) {
    const int pitch = INT8 ? int8_pitch(c.N) : c.N * 2, m = m0 + (threadIdx.x >> 5);
    residual.from = c.residual + m * pitch + n * (INT8 ? 1 : 2);
    residual.step = kWarps * pitch;
    residual.count = c.residual == kNone ? 0 : (m < c.M) + (m + kWarps < c.M);
    residual.load(net.arena);
  }

  // Stored, and kept for the next convolution.
  __device__ __forceinline__ void keep(const Net& net, const ConvDesc& c, const Places& to, uint32_t red,
                                       int m0) const {
    const bool relu = c.relu;
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      const int row = (threadIdx.x >> 5) + q * kWarps;
      float4 a = four_of<INT8, kOuterShare>(c, red, row, col, factors);
      char* own = smem + (to.own + in_boxes(row, col * (INT8 ? 1 : 2)) - head());
      if constexpr (INT8) {
        const float factor = c.residual_factor;
        if (q < residual.count) add_scaled(a, from_int8(residual.v[q]), make_float4(factor, factor, factor, factor));
        const uint32_t v = to_int8(clipped(a, relu));
        *reinterpret_cast<uint32_t*>(own) = v;
        if (m0 + row < c.M) *reinterpret_cast<uint32_t*>(net.arena + c.out + (m0 + row) * out_pitch(c) + n) = v;
      } else {
        if (q < residual.count) add_halves(a, residual.v[q]);
        const uint2 v = to_halves(a, relu);
        *reinterpret_cast<uint2*>(own) = v;
        if (m0 + row < c.M) *reinterpret_cast<uint2*>(net.arena + c.out + ((m0 + row) * c.N + n) * 2) = v;
      }
    }
  }
};

// The next block's first convolution over the block's own part of K: each warp's sums go to the block that has their
// channels, in the order of the fragments.
template <bool INT8>
__device__ __forceinline__ bool give_parts(const Net& net, const Shared s, const ConvDesc& c, const Places& to,
                                           const Rows& rows, int item, uint32_t& parity, int phase) {
  using Sum = std::conditional_t<INT8, int, float>;
  constexpr int kFragments = kInnerShare / 8;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, slot = item & 1;
  Sum acc[1][kFragments][4];
#pragma unroll
  for (int j = 0; j < kFragments; ++j)
#pragma unroll
    for (int q = 0; q < 4; ++q) acc[0][j][q] = 0;
  uint32_t a[1] = {to.own + rows.slot[0] * 128 + (((rows.slot[0] & 7) << 4) ^ ((lane >> 4) * 16))};
  if (!mbar_wait(net, head() + kFull + slot * 8, (parity >> slot) & 1)) return false;
  STAMP(14);
  parity ^= 1u << slot;
  mma_1x1<1, kFragments>(a, s.stack(item, c) + (warp * kFragments * 32 + lane) * 16, c.boxes, kBoxBytes, 64 << c.tn,
                         acc);
  const uint32_t at = to.parts + cluster_rank() * kPartBytes, bar = to.bars + 8;
  const auto piece = [&](int j) {
    return make_uint4(bits(acc[0][j][0]), bits(acc[0][j][1]), bits(acc[0][j][2]), bits(acc[0][j][3]));
  };
  if (warp == static_cast<int>(cluster_rank())) {  // a copy is for other blocks
#pragma unroll
    for (int j = 0; j < kFragments; ++j) send(of_peer(at, warp) + j * 512 + lane * 16, piece(j), of_peer(bar, warp));
    __syncwarp();
    if (lane == 0) mbar_arrive(head() + kEmpty + slot * 8);
  } else {
    const uint32_t outbox = s.stack(item, c) + c.a_off + warp * kPartBytes;  // where sums would be
#pragma unroll
    for (int j = 0; j < kFragments; ++j) put(outbox + j * 512 + lane * 16, piece(j));
    shared_fence();
    __syncwarp();
    if (lane == 0) {  // one copy of all: each store by itself would be counted by itself
      copy_to_peer(of_peer(at, warp), outbox, kPartBytes, of_peer(bar, warp));
      wait_until_read();
      mbar_arrive(head() + kEmpty + slot * 8);
    }
    __syncwarp();
  }
  STAMP(15);
  return true;
}

// A thread's part of the next convolution's sums: two channels of a pixel, which eight blocks have parts of.
template <bool INT8>
struct Sums {
  int row, n;
  float2 bias, scale;

  __device__ __forceinline__ Sums(const Net& net, const ConvDesc& c)
      : row((threadIdx.x >> 2 & 7) + (threadIdx.x >> 5 & 1) * 8),
        n(cluster_rank() * kInnerShare + (threadIdx.x >> 6) * 8 + (threadIdx.x & 3) * 2),
        bias(factors_at<float2>(net, c, n)) {
    if constexpr (INT8) scale = factors_at<float2>(net, c, c.N + n);
  }

  __device__ __forceinline__ uint32_t add_up(const Places& from, bool relu) const {
    using Two = std::conditional_t<INT8, int2, float2>;
    const char* part =
        smem + (from.parts + (threadIdx.x >> 6) * 512 + (threadIdx.x & 31) * 16 + (threadIdx.x >> 5 & 1) * 8 - head());
    Two sum{};
#pragma unroll
    for (int q = 0; q < kCluster; ++q) {
      const Two u = *reinterpret_cast<const Two*>(part + q * kPartBytes);
      sum.x += u.x, sum.y += u.y;
    }
    if constexpr (INT8)
      return to_int8(clipped(make_float4(sum.x * scale.x + bias.x, sum.y * scale.y + bias.y, 0, 0), relu)) & 0xffffu;
    else
      return to_half2(sum.x + bias.x, sum.y + bias.y, relu);
  }

  __device__ __forceinline__ void store(const Net& net, const ConvDesc& c, uint32_t v, int m0) const {
    const int m = m0 + row;
    if (m >= c.M) return;
    if constexpr (INT8)
      *reinterpret_cast<uint16_t*>(net.arena + c.out + m * out_pitch(c) + n) = static_cast<uint16_t>(v);
    else
      *reinterpret_cast<uint32_t*>(net.arena + c.out + (m * c.N + n) * 2) = v;
  }
};

// The sums of a tile may be read, and later be overwritten by the copy engine.
__device__ __forceinline__ void sums_ready() {
  shared_fence();
  team_sync();
}
__device__ __forceinline__ void give_back(int item) {
  __syncwarp();
  if ((threadIdx.x & 31) == 0) mbar_arrive(head() + kEmpty + (item & 1) * 8);
}

// The 3x3, up to its results on the way to all blocks.
template <bool INT8>
__device__ __forceinline__ bool inner_conv(const Net& net, const Shared s, const Phase& ph, const Places& places,
                                           int m0, uint32_t& parity, int phase) {
  const ConvDesc& c = conv_table(net)[ph.conv[0]];
  Rows rows;
  find_rows(c, m0, threadIdx.x & 31, rows);
  const int n = cluster_rank() * kInnerShare + (threadIdx.x & 3) * 8, last = ph.item0 + c.passes - 1;
  const Factors factors[2] = {factors_of<INT8>(net, c, n), factors_of<INT8>(net, c, n + 4)};
  Residual<INT8> none;
  none.count = 0;
  if (!compute<1, 2, kConv3x3, INT8>(net, s, c, rows, ph.item0, parity, none, phase)) return false;
  KEEP_STAMP(1, 0);
  STAMP(2);
  sums_ready();
  STAMP(3);
  give_to_all<INT8>(net, c, places, s.stack(last, c) + c.a_off, m0, factors);
  give_back(last);
  STAMP(7);
  return true;
}

template <bool INT8>
__device__ __forceinline__ bool outer_conv(const Net& net, const Shared s, const Phase& ph, const Places& places,
                                           int m0, int item, uint32_t& parity, int phase) {
  const ConvDesc& c = conv_table(net)[ph.conv[1]];
  Rows rows;
  find_rows(c, m0, threadIdx.x & 31, rows);
  const Outer<INT8> outer(net, c, m0);
  if (!mbar_wait(net, places.bars, parity >> 2 & 1)) return false;
  parity ^= 4;
  STAMP(8);
  Residual<INT8> none;
  none.count = 0;
  if (!compute<1, 2, kConv1x1, INT8>(net, s, c, rows, item, parity, none, phase, places.gathered)) return false;
  sums_ready();
  outer.keep(net, c, places, s.stack(item, c) + c.a_off, m0);
  give_back(item);
  return true;
}

template <bool INT8>
__device__ __forceinline__ bool next_conv(const Net& net, const Shared s, const Phase& ph, const Places& places, int m0,
                                          int item, uint32_t& parity, int phase) {
  const ConvDesc& c = conv_table(net)[ph.conv[2]];
  Rows rows;
  find_rows(c, m0, threadIdx.x & 31, rows);
  const Sums<INT8> sums(net, c);
  team_sync();  // all of the outer's results are kept
  STAMP(13);
  if (!give_parts<INT8>(net, s, c, places, rows, item, parity, phase)) return false;
  if (!mbar_wait(net, places.bars + 8, parity >> 3 & 1)) return false;
  parity ^= 8;
  sums.store(net, c, sums.add_up(places, c.relu), m0);
  return true;
}

// Returns `parity` as the chain leaves it, or that it gave up. Not inlined: the registers of other phases would spill.
constexpr uint32_t kGivenUp = 0xffffffffu;
template <bool INT8>
__device__ __noinline__ uint32_t chain(const Net& net, const Shared s, const Phase& ph, uint32_t parity, int phase) {
  STAMP(11);
  const Places places(s);
  const bool more = ph.convs > 2;
  const int m0 = blockIdx.x / kCluster * kChainPixels,
            item = ph.item0 + conv_table(net)[ph.conv[0]].passes;  // behind the 3x3's
  if (threadIdx.x == 0) {
    mbar_expect(places.bars, kChainPixels * kChainInner * (INT8 ? 1 : 2));
    if (more) mbar_expect(places.bars + 8, kPartsBytes);
  }
  const bool ok = inner_conv<INT8>(net, s, ph, places, m0, parity, phase) &&
                  outer_conv<INT8>(net, s, ph, places, m0, item, parity, phase) &&
                  (!more || next_conv<INT8>(net, s, ph, places, m0, item + 1, parity, phase));
  STAMP(4);
  return ok ? parity : kGivenUp;
}

}  // namespace ferry::latency
#endif
