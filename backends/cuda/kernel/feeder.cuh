// The ninth warp: starts the weights of the next phase, says that the block is done, waits for the grid, and only then
// starts the activations.
#pragma once
#include "cuda/kernel/meeting.cuh"

namespace ferry::latency {

__device__ __forceinline__ int tile_m(const ConvDesc& c) { return 16 << (c.wm + (c.cfg >> 2)); }
__device__ __forceinline__ int tile_n(const ConvDesc& c) { return 1 << c.tn; }

struct Tile {
  const ConvDesc* c;
  int index, m, n;  // tiles along N lie next to each other: a cluster's blocks share activations
};
__device__ __forceinline__ Tile find_tile(const Net& net, const Phase& ph, int t) {
  Tile r;
  const int which = t >= ph.tiles0;
  r.c = conv_table(net) + ph.conv[which];
  r.index = which ? t - ph.tiles0 : t;
  r.m = divide(r.index, r.c->by_nt);
  r.n = r.index - r.m * r.c->nt;
  return r;
}

#ifdef FERRY_BULK
// A block's part of a chain's convolution: a share of the channels. Of the last one, all channels and a share of K.
__device__ __forceinline__ Tile chain_tile(const Net& net, const Phase& ph, int k) {
  Tile r;
  r.c = conv_table(net) + ph.conv[k];
  r.m = r.index = blockIdx.x / kCluster;
  r.n = k == 2 ? 0 : cluster_rank();
  return r;
}
#endif

// First pixel (or row) that a tile reads.
__device__ __forceinline__ int first_pixel(const ConvDesc& c, int m0) {
  const int y = divide(m0, c.by_ow);
  if (c.kind == kConv1x1) return c.stride == 1 ? m0 : y * c.OW;
  return c.stride == 1 ? m0 - c.W - 1 : (y * 2 - 1) * c.W;
}

// Everything about an item's activations that is known before they may be read.
struct Ready {
  const void* map;
  uint32_t dst, bar;
  int x, box, loads;
};

template <bool CHAINS>
struct Feeder {
  const Net& net;
  const Shared s;
  int lane;
  uint32_t used, parity;  // a bit a stack: it has been in use; of its next "empty"
  int at;                 // the item that `ready` is about, or -1
  uint32_t last;          // bytes of the last item's stack
  Ready ready;

  // Starts an item's weights and makes its activations ready to go.
  __device__ __forceinline__ void prepare(const Tile& t, int pass, int item) {
    start_weights(t, pass, item);
    aim(t, pass, item);
  }

  __device__ __forceinline__ void start_weights(const Tile& t, int pass, int item) {
    const int slot = item & 1;
    const ConvDesc& c = *t.c;
    if (used >> slot & 1) {
      mbar_wait(net, head() + kEmpty + slot * 8, parity >> slot & 1);
      parity ^= 1u << slot;
    }
    // Where two stacks do not fit, the one before must have been given back.
    if ((used >> (slot ^ 1) & 1) && last + c.stack > s.high - s.low)
      mbar_wait(net, head() + kEmpty + (slot ^ 1) * 8, parity >> (slot ^ 1) & 1);
    last = c.stack;
    used |= 1u << slot;
    at = item;
    const int taps = c.kind == kConv3x3 ? 9 : c.kind == kConv1x1 ? 1 : 7;
    const uint32_t bytes = (c.kind == kStem ? 1 : c.boxes * 2) * taps * tile_n(c) * 64;
    const uint32_t bar = head() + kFull + slot * 8, stack = s.stack(item, c);
    const char* from = net.weights + c.weights + static_cast<size_t>(t.n * c.passes + pass) * bytes;
#ifdef FERRY_BULK
    if (lane) return;
    mbar_expect(bar, bytes);
    bulk_copy(stack, from, bytes, bar);
#else
#pragma unroll 4
    for (uint32_t i = lane * 16; i < bytes; i += 512) copy16(stack + i, from + i, true);
    copies_arrive(bar);
#endif
  }

  __device__ __forceinline__ void aim(const Tile& t, int pass, int item) {
#ifdef FERRY_BULK
    if (lane) return;
#endif
    const ConvDesc& c = *t.c;
    const uint32_t bar = head() + kFull + (item & 1) * 8;
    ready.loads = 0;
    if (c.kind == kStem) {
      mbar_arrive(bar);
      return;
    }
    const int m0 = t.m * tile_m(c);
    ready.map = net.maps + c.map * 128;
    ready.dst = s.stack(item, c) + c.a_off;
    ready.bar = bar;
    ready.box = pass * c.boxes;
    ready.x = strided(c) ? divide(m0, c.by_ow) : first_pixel(c, m0);
    ready.loads = c.span == c.boxes && c.chunks == 1 && !strided(c) ? 1 : 2;
#ifdef FERRY_BULK
    mbar_expect(bar, c.boxes * c.chunks * c.rows * c.width * 128);
    asm volatile("prefetch.tensormap [%0];\n" ::"l"(ready.map) : "memory");
#endif
  }

#ifndef FERRY_BULK
  // As the copy engine would: a row's eight pieces exchange places by the row's number; what lies outside is zero.
  __device__ __forceinline__ void load_a(const ConvDesc& c) {
    if (ready.loads == 0) return;
    const bool every_second = strided(c);
    const int pixels = c.M / (c.OH * c.OW) * c.H * c.W, rows = c.chunks * c.rows * c.width, q = lane & 7;
    const char* in = net.arena + c.in + ready.box * 128 + q * 16;
    for (int r = lane >> 3; r < rows; r += 4) {
      int pixel = ready.x + r;
      if (every_second) {
        const int y = divide(r, c.by_ow);
        pixel = (ready.x + y) * 2 * c.W + (r - y * c.OW) * 2;
      }
      const bool exists = pixel >= 0 && pixel < pixels;
      const char* src = in + static_cast<size_t>(exists ? pixel : 0) * c.C * 2;
      uint32_t dst = ready.dst + r * 128;
      for (int box = 0; box < c.boxes; ++box, dst += c.box_bytes)
        copy16(dst + ((q ^ (r & 7)) << 4), src + box * 128, exists);
    }
    copies_arrive(ready.bar);
  }
#else
  __device__ __forceinline__ void load_a(const ConvDesc& c) {
    if (lane) return;
    if (ready.loads == 1) {
      tensor3(ready.dst, ready.map, ready.x, ready.box, ready.bar);
      return;
    }
    uint32_t dst = ready.dst;
    if (ready.loads == 0) return;
    for (int box = 0; box < c.boxes; box += c.span, dst += c.span * c.box_bytes)
      for (int chunk = 0; chunk < c.chunks; ++chunk) {
        if (strided(c))
          tensor4(dst, ready.map, ready.x, ready.box + box, ready.bar);
        else
          tensor3(dst + chunk * c.rows * 128, ready.map, ready.x + chunk * c.rows, ready.box + box, ready.bar);
      }
  }
#endif

  // Weights of a later phase: from device memory into L2, each block its own share.
  __device__ __forceinline__ void prefetch_l2(const Phase& ph) {
    if (lane || ph.weight_bytes == 0) return;
    const uint32_t total = static_cast<uint32_t>(ph.weight_bytes),
                   share = ((total + gridDim.x - 1) / gridDim.x + 127) & ~127u, at = share * blockIdx.x;
    if (at >= total) return;
#ifdef FERRY_BULK
    const uint32_t bytes = min(share, total - at) & ~15u;
    if (bytes)
      asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;\n" ::"l"(net.weights + ph.weights + at), "r"(bytes)
                   : "memory");
#else
    for (uint32_t i = at; i < min(at + share, total); i += 128)
      asm volatile("prefetch.global.L2 [%0];\n" ::"l"(net.weights + ph.weights + i) : "memory");
#endif
  }

  // The block's first item of a phase, if it has one; of a chain the weights of the second too, where they are the same
  // convolution's.
  __device__ __forceinline__ void first(const Phase& ph) {
    if (static_cast<int>(blockIdx.x) >= ph.tiles || at >= ph.item0) return;
#ifdef FERRY_BULK
    if (CHAINS && ph.kind == kPhaseChain) {
      const Tile tile = chain_tile(net, ph, 0);
      prepare(tile, 0, ph.item0);
      if (tile.c->passes > 1 && both_fit(*tile.c)) start_weights(tile, 1, ph.item0 + 1);
      return;
    }
#endif
    if (ph.kind == kPhaseConv) prepare(find_tile(net, ph, blockIdx.x), 0, ph.item0);
  }

#ifdef FERRY_BULK
  __device__ __forceinline__ void without_activations(int item) {
    if (lane == 0) mbar_arrive(head() + kFull + (item & 1) * 8);
  }
  __device__ __forceinline__ bool both_fit(const ConvDesc& c) const { return 2 * c.stack <= s.high - s.low; }
  // The first item is ready and may go, and so are the weights of a second pass where they fit beside it. Only the
  // first convolution reads activations from memory.
  __device__ __forceinline__ void chain_items(const Phase& ph) {
    const Tile inner = chain_tile(net, ph, 0);
    load_a(*inner.c);
    int item = ph.item0 + 1;
    if (inner.c->passes > 1) {
      if (!both_fit(*inner.c)) start_weights(inner, 1, item);
      aim(inner, 1, item++);
      load_a(*inner.c);
    }
    for (int k = 1; k < ph.convs; ++k, ++item) {
      start_weights(chain_tile(net, ph, k), k == 2 ? cluster_rank() : 0, item);
      without_activations(item);
    }
  }
#endif

  // The first item is ready and may go.
  __device__ __forceinline__ void conv_items(const Phase& ph) {
    int item = ph.item0;
    const int which = static_cast<int>(blockIdx.x) >= ph.tiles0;
    load_a(conv_table(net)[ph.conv[which]]);
    if (static_cast<int>(gridDim.x) >= ph.tiles && ph.per_tile == 1) return;
#pragma unroll 1
    for (int t = blockIdx.x; t < ph.tiles; t += gridDim.x, item += ph.per_tile) {
      const Tile tile = find_tile(net, ph, t);
#pragma unroll 1
      for (int pass = 0; pass < tile.c->passes; ++pass) {
        if (item + pass == ph.item0) continue;
        prepare(tile, pass, item + pass);
        load_a(*tile.c);
      }
    }
  }
};

__device__ __forceinline__ bool has_tiles(const Phase& ph) { return ph.kind == kPhaseConv || ph.kind == kPhaseChain; }
__device__ __forceinline__ bool has_work(const Phase& ph) {
  return !has_tiles(ph) || static_cast<int>(blockIdx.x) < ph.tiles;
}

__device__ __forceinline__ void tell_time(const Net& net, int p, int lane) {
  if (net.clocks != nullptr && blockIdx.x == 0 && lane == 0) net.clocks[p] = clock64();
}

template <bool CHAINS>
__device__ __forceinline__ void feed(const Net& net, const Shared s) {
  const int lane = threadIdx.x & 31, shard = blockIdx.x % kShards;
  Feeder<CHAINS> f{net, s, lane, 0, 0, -1, 0, {}};
  constexpr int kL2Ahead = 3;
  unsigned target = lane < kShards ? *reinterpret_cast<volatile unsigned*>(net.counter + lane * kShardStride + 32) : 0;
  const unsigned members = lane < kShards ? (gridDim.x - lane + kShards - 1) / kShards * kWarps : 0;
  for (int p = 0; p < kL2Ahead && p < net.count; ++p) f.prefetch_l2(phase_table()[p]);
#pragma unroll 1
  for (int p = 0; p < net.count; ++p) {
    const Phase& ph = phase_table()[p];
    const int phase = p;
    bool ok = true;
    if (p > 0) {
      if (has_work(phase_table()[p - 1]))
        bar_sync(kDone, kBlock);
      else if (lane == 0)
        grid_arrive(net, kWarps);
      target += members;
      STAMP(9);
      f.first(ph);
      ok = grid_wait(net, target, lane);
      global_fence();
    } else {
      f.first(ph);
    }
    STAMP(10);
    tell_time(net, p, lane);
    if (!ok) *reinterpret_cast<volatile int*>(smem + kFailed) = 1;
    if (!has_tiles(ph)) bar_arrive(kGo, kBlock);
    if (!ok) return;
    if (ph.kind == kPhaseConv && has_work(ph)) f.conv_items(ph);
#ifdef FERRY_BULK
    if (CHAINS && ph.kind == kPhaseChain && has_work(ph)) f.chain_items(ph);
#endif
    if (p + 1 < net.count) f.first(phase_table()[p + 1]);
    if (p + kL2Ahead < net.count) f.prefetch_l2(phase_table()[p + kL2Ahead]);
  }
  if (has_work(phase_table()[net.count - 1])) bar_sync(kDone, kBlock);
  tell_time(net, net.count, lane);
  // the last phase arrives too; the last block of a shard to do so leaves the next launch its starting value
  target += members;
  const unsigned mine = __shfl_sync(~0u, target, shard);
  unsigned* counter = net.counter + shard * kShardStride;
  if (lane == 0 && atomicAdd(counter, static_cast<unsigned>(kWarps)) + kWarps == mine) counter[32] = mine;
}

}  // namespace ferry::latency
