#include "gpu/latency_emulator.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "cuda/half.h"
#include "cuda/pack.h"

namespace ferry::latency {
namespace {

using Half = std::uint16_t;

template <typename T>
T* at(const Net& net, std::size_t offset) {
  return reinterpret_cast<T*>(net.arena + offset);
}

std::size_t size(int value) { return static_cast<std::size_t>(value); }

using Int8 = signed char;

/// A stored value as what the products are of: float of float16, int of int8.
float value_of(Half half) { return from_half(half); }
int value_of(Int8 value) { return value; }

/// What a convolution multiplies and adds up.
template <typename Stored>
using Sum = decltype(value_of(Stored{}));

/// [ky][kx][C][N] of padded channels.
template <typename Stored>
std::vector<Sum<Stored>> weights_of(const Net& net, const ConvDesc& c, int channels, int kernel) {
  const std::string oihw = unpack_conv(c, c.N, channels, kernel, {net.weights + c.weights, packed_bytes(c)});
  std::vector<Sum<Stored>> values(oihw.size() / sizeof(Stored));
  const std::size_t taps = size(kernel * kernel);
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, &oihw[i * sizeof stored], sizeof stored);
    const std::size_t n = i / taps / size(channels), channel = i / taps % size(channels), tap = i % taps;
    values[(tap * size(channels) + channel) * size(c.N) + n] = value_of(stored);
  }
  return values;
}

/// One image's input, [pixel][channel].
template <typename Stored>
std::vector<Sum<Stored>> input_of(const Net& net, const ConvDesc& c, int channels, int image) {
  const std::size_t pixels = size(c.H) * size(c.W), width = size(channels);
  std::vector<Sum<Stored>> values(pixels * width);
  const float* picture = net.input + size(image) * pixels * width;
  const Stored* stored = at<Stored>(net, c.in) + size(image) * pixels * width;
  for (std::size_t p = 0; p < pixels; ++p)
    for (std::size_t q = 0; q < width; ++q)
      if (c.kind == kStem)
        values[p * width + q] = static_cast<Sum<Stored>>(from_half(to_half(picture[q * pixels + p])));
      else
        values[p * width + q] = value_of(stored[p * width + q]);
  return values;
}

/// Adds the products for one output pixel to `sums`, all channels.
template <typename Value>
void add_products(const ConvDesc& c, const std::vector<Value>& in, const std::vector<Value>& weights, int channels,
                  int kernel, int m, Value* sums) {
  for (int tap = 0; tap < kernel * kernel; ++tap) {
    const int y = m / c.OW * c.stride + tap / kernel - kernel / 2, x = m % c.OW * c.stride + tap % kernel - kernel / 2;
    if (y < 0 || y >= c.H || x < 0 || x >= c.W) continue;
    const Value* pixel = &in[(size(y) * size(c.W) + size(x)) * size(channels)];
    const Value* w = &weights[size(tap) * size(channels) * size(c.N)];
    for (int i = 0; i < channels; ++i, w += c.N) {
      const Value value = pixel[i];
      for (int n = 0; n < c.N; ++n) sums[n] += value * w[n];
    }
  }
}

Int8 to_int8(float value) { return static_cast<Int8>(std::nearbyint(std::min(std::max(value, -128.0F), 127.0F))); }

/// The results of one pixel, number `m` of the batch.
template <typename Value>
void store(const Net& net, const ConvDesc& c, bool int8_network, std::size_t m, const Value* sums) {
  const auto* bias = reinterpret_cast<const float*>(net.weights + c.bias);
  const float* factors = bias + c.N;
  for (std::size_t n = 0; n < size(c.N); ++n) {
    auto value = static_cast<float>(sums[n]);
    value = int8_network ? value * factors[n] + bias[n] : value + bias[n];
    if (c.residual != kNone)
      value += int8_network ? c.residual_factor * at<Int8>(net, c.residual)[m * size(int8_pitch(c.N)) + n]
                            : from_half(at<Half>(net, c.residual)[m * size(c.N) + n]);
    if (c.relu) value = std::max(value, 0.0F);
    if (c.flags & kInt8Out)
      at<Int8>(net, c.out)[m * size(out_pitch(c)) + n] = to_int8(value);
    else
      at<Half>(net, c.out)[m * size(c.N) + n] = to_half(value);
  }
}

template <typename Stored>
void conv(const Net& net, const ConvDesc& c, unsigned threads) {
  const int kernel = c.kind == kStem      ? 7
                     : c.kind == kConv3x3 ? 3
                                          : 1,
            channels = c.kind == kStem ? 3 : c.C * 2 / static_cast<int>(sizeof(Stored));
  const auto weights = weights_of<Stored>(net, c, channels, kernel);
  const int plane = c.OH * c.OW;
  for (int image = 0; image < c.M / plane; ++image) {
    const auto in = input_of<Stored>(net, c, channels, image);
    const auto rows = [&](int from, int step) {
      std::vector<Sum<Stored>> sums(size(c.N));
      for (int m = from; m < plane; m += step) {
        std::fill(sums.begin(), sums.end(), Sum<Stored>{});
        add_products(c, in, weights, channels, kernel, m, sums.data());
        store(net, c, (c.flags & (kInt8In | kInt8Out)) != 0, size(image) * size(plane) + size(m), sums.data());
      }
    };
    std::vector<std::thread> others;
    for (unsigned t = 1; t < threads; ++t) others.emplace_back(rows, static_cast<int>(t), static_cast<int>(threads));
    rows(0, static_cast<int>(threads));
    for (std::thread& other : others) other.join();
  }
}

template <typename Stored>
void max_pool(const Net& net, const Phase& p) {
  const int height = (p.H + 1) / 2, width = (p.W + 1) / 2, channels = p.C * 2 / static_cast<int>(sizeof(Stored));
  const auto* in = at<Stored>(net, p.in);
  for (int image = 0; image < p.batch; ++image)
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        for (int c = 0; c < channels; ++c) {
          Stored best = in[((image * p.H + 2 * y) * p.W + 2 * x) * channels + c];
          for (int dy = std::max(0, 2 * y - 1); dy <= std::min(p.H - 1, 2 * y + 1); ++dy)
            for (int dx = std::max(0, 2 * x - 1); dx <= std::min(p.W - 1, 2 * x + 1); ++dx) {
              const Stored other = in[((image * p.H + dy) * p.W + dx) * channels + c];
              if (value_of(other) > value_of(best)) best = other;
            }
          at<Stored>(net, p.out)[((image * height + y) * width + x) * channels + c] = best;
        }
}

void average_pool(const Net& net, const Phase& p) {
  const int pixels = p.H * p.W;
  for (int image = 0; image < p.batch; ++image)
    for (int c = 0; c < p.C; ++c) {
      float sum = 0;
      for (int m = 0; m < pixels; ++m) sum += from_half(at<Half>(net, p.in)[(image * pixels + m) * p.C + c]);
      at<float>(net, p.out)[image * p.C + c] = sum / static_cast<float>(pixels);
    }
}

void classify(const Net& net, const Phase& p) {
  const auto* weights = reinterpret_cast<const Half*>(net.weights + p.weights);
  const auto* bias = reinterpret_cast<const float*>(net.weights + p.bias);
  for (int image = 0; image < p.batch; ++image)
    for (int row = 0; row < p.H; ++row) {
      float sum = bias[row];
      for (int c = 0; c < p.C; ++c) sum += from_half(weights[row * p.C + c]) * at<float>(net, p.in)[image * p.C + c];
      net.output[image * p.H + row] = sum;
    }
}

}  // namespace

void emulate(const Net& net, const Phase& phase, unsigned threads) {
  for (int k = 0; k < phase.convs; ++k) {
    const ConvDesc& c = net.convs[phase.conv[k]];
    c.flags& kInt8In ? conv<Int8>(net, c, threads) : conv<Half>(net, c, threads);
  }
  if (phase.kind == kPhaseMaxPool) phase.int8 != 0 ? max_pool<Int8>(net, phase) : max_pool<Half>(net, phase);
  if (phase.kind == kPhaseAvgPool) average_pool(net, phase);
  if (phase.kind == kPhaseFc) classify(net, phase);
}

}  // namespace ferry::latency
