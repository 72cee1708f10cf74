#include "gpu/latency_emulator.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "cuda/pack.h"
#include "gpu/half.h"

namespace ferry::latency {
namespace {

using Half = std::uint16_t;

template <typename T>
T* at(const Net& net, std::size_t offset) {
  return reinterpret_cast<T*>(net.arena + offset);
}

std::size_t size(int value) { return static_cast<std::size_t>(value); }

/// float [ky][kx][C][N] of padded channels.
std::vector<float> weights_of(const Net& net, const ConvDesc& c, int channels, int kernel) {
  const std::string oihw = unpack_conv(c, c.N, channels, kernel, {net.weights + c.weights, packed_bytes(c)});
  std::vector<float> values(oihw.size() / 2);
  const std::size_t taps = size(kernel * kernel);
  for (std::size_t i = 0; i < values.size(); ++i) {
    Half half;
    std::memcpy(&half, &oihw[i * 2], 2);
    const std::size_t n = i / taps / size(channels), channel = i / taps % size(channels), tap = i % taps;
    values[(tap * size(channels) + channel) * size(c.N) + n] = from_half(half);
  }
  return values;
}

/// One image's input as float [pixel][channel].
std::vector<float> input_of(const Net& net, const ConvDesc& c, int channels, int image) {
  const std::size_t pixels = size(c.H) * size(c.W), width = size(channels);
  std::vector<float> values(pixels * width);
  const float* picture = net.input + size(image) * pixels * width;
  const Half* halves = at<Half>(net, c.in) + size(image) * pixels * width;
  for (std::size_t p = 0; p < pixels; ++p)
    for (std::size_t q = 0; q < width; ++q)
      values[p * width + q] =
          c.kind == kStem ? from_half(to_half(picture[q * pixels + p])) : from_half(halves[p * width + q]);
  return values;
}

/// Adds the products for one output pixel to `sums`, all channels.
void add_products(const ConvDesc& c, const std::vector<float>& in, const std::vector<float>& weights, int channels,
                  int kernel, int m, float* sums) {
  for (int tap = 0; tap < kernel * kernel; ++tap) {
    const int y = m / c.OW * c.stride + tap / kernel - kernel / 2, x = m % c.OW * c.stride + tap % kernel - kernel / 2;
    if (y < 0 || y >= c.H || x < 0 || x >= c.W) continue;
    const float* pixel = &in[(size(y) * size(c.W) + size(x)) * size(channels)];
    const float* w = &weights[size(tap) * size(channels) * size(c.N)];
    for (int i = 0; i < channels; ++i, w += c.N) {
      const float value = pixel[i];
      for (int n = 0; n < c.N; ++n) sums[n] += value * w[n];
    }
  }
}

void conv(const Net& net, const ConvDesc& c, unsigned threads) {
  const int kernel = c.kind == kStem ? 7 : c.kind == kConv3x3 ? 3 : 1, channels = c.kind == kStem ? 3 : c.C;
  const std::vector<float> weights = weights_of(net, c, channels, kernel);
  const auto* bias = reinterpret_cast<const float*>(net.weights + c.bias);
  const int plane = c.OH * c.OW;
  for (int image = 0; image < c.M / plane; ++image) {
    const std::vector<float> in = input_of(net, c, channels, image);
    const auto rows = [&](int from, int step) {
      std::vector<float> sums(size(c.N));
      for (int m = from; m < plane; m += step) {
        std::copy_n(bias, c.N, sums.begin());
        add_products(c, in, weights, channels, kernel, m, sums.data());
        const std::size_t to = (size(image) * size(plane) + size(m)) * size(c.N);
        for (std::size_t n = 0; n < size(c.N); ++n) {
          float value = sums[n];
          if (c.residual != kNone) value += from_half(at<Half>(net, c.residual)[to + n]);
          at<Half>(net, c.out)[to + n] = to_half(c.relu ? std::max(value, 0.0F) : value);
        }
      }
    };
    std::vector<std::thread> others;
    for (unsigned t = 1; t < threads; ++t) others.emplace_back(rows, static_cast<int>(t), static_cast<int>(threads));
    rows(0, static_cast<int>(threads));
    for (std::thread& other : others) other.join();
  }
}

void max_pool(const Net& net, const Phase& p) {
  const int height = (p.H + 1) / 2, width = (p.W + 1) / 2;
  for (int image = 0; image < p.batch; ++image)
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        for (int c = 0; c < p.C; ++c) {
          float best = -INFINITY;
          for (int dy = std::max(0, 2 * y - 1); dy <= std::min(p.H - 1, 2 * y + 1); ++dy)
            for (int dx = std::max(0, 2 * x - 1); dx <= std::min(p.W - 1, 2 * x + 1); ++dx)
              best = std::max(best, from_half(at<Half>(net, p.in)[((image * p.H + dy) * p.W + dx) * p.C + c]));
          at<Half>(net, p.out)[((image * height + y) * width + x) * p.C + c] = to_half(best);
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
  for (int k = 0; k < phase.convs; ++k) conv(net, net.convs[phase.conv[k]], threads);
  if (phase.kind == kPhaseMaxPool) max_pool(net, phase);
  if (phase.kind == kPhaseAvgPool) average_pool(net, phase);
  if (phase.kind == kPhaseFc) classify(net, phase);
}

}  // namespace ferry::latency
