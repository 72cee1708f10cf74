// The kernel of backends/cuda on the CPU, for the fake CUDA driver: reads the same tables, weights and addresses, and
// computes each phase in plain loops. So all of the module but kernel.cuh itself is checked without a GPU: graph,
// tiles, packing, addresses in the arena, plan file, launches. Loaded by $FAKE_CUDA_KERNELS.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cuda/pack.h"
#include "cuda/phases.h"
#include "half.h"

namespace ferry::latency {
namespace {

using Half = std::uint16_t;

template <typename T>
T* at(const Net& net, std::size_t offset) {
  return reinterpret_cast<T*>(net.arena + offset);
}

/// float [N][C][kernel][kernel] of padded channels.
std::vector<float> weights_of(const Net& net, const ConvDesc& c, int channels, int kernel) {
  const std::string oihw = unpack_conv(c, c.N, channels, kernel, {net.weights + c.weights, packed_bytes(c)});
  std::vector<float> values(oihw.size() / 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    Half half;
    std::memcpy(&half, &oihw[i * 2], 2);
    values[i] = from_half(half);
  }
  return values;
}

/// One image's input as float [pixel][channel].
std::vector<float> input_of(const Net& net, const ConvDesc& c, int channels, int image) {
  const std::size_t pixels = static_cast<std::size_t>(c.H) * static_cast<std::size_t>(c.W),
                    width = static_cast<std::size_t>(channels);
  std::vector<float> values(pixels * width);
  const float* picture = net.input + static_cast<std::size_t>(image) * pixels * width;
  const Half* halves = at<Half>(net, c.in) + static_cast<std::size_t>(image) * pixels * width;
  for (std::size_t p = 0; p < pixels; ++p)
    for (std::size_t q = 0; q < width; ++q)
      values[p * width + q] =
          c.kind == kStem ? from_half(to_half(picture[q * pixels + p])) : from_half(halves[p * width + q]);
  return values;
}

/// The sum of products for one output value.
float products(const ConvDesc& c, const std::vector<float>& in, const float* w, int channels, int kernel, int m) {
  float sum = 0;
  for (int ky = 0; ky < kernel; ++ky)
    for (int kx = 0; kx < kernel; ++kx) {
      const int y = m / c.OW * c.stride + ky - kernel / 2, x = m % c.OW * c.stride + kx - kernel / 2;
      if (y < 0 || y >= c.H || x < 0 || x >= c.W) continue;
      const float* pixel =
          &in[(static_cast<std::size_t>(y) * static_cast<std::size_t>(c.W) + static_cast<std::size_t>(x)) *
              static_cast<std::size_t>(channels)];
      for (int i = 0; i < channels; ++i) sum += pixel[i] * w[(i * kernel + ky) * kernel + kx];
    }
  return sum;
}

void conv(const Net& net, const ConvDesc& c) {
  const int kernel = c.kind == kStem ? 7 : c.kind == kConv3x3 ? 3 : 1, channels = c.kind == kStem ? 3 : c.C;
  const std::vector<float> weights = weights_of(net, c, channels, kernel);
  const auto* bias = reinterpret_cast<const float*>(net.weights + c.bias);
  for (int image = 0; image < net.images; ++image) {
    const std::vector<float> in = input_of(net, c, channels, image);
    const std::size_t begin =
        static_cast<std::size_t>(image) * static_cast<std::size_t>(c.M) * static_cast<std::size_t>(c.N);
    for (int m = 0; m < c.M; ++m)
      for (int n = 0; n < c.N; ++n) {
        const std::size_t i =
            begin + static_cast<std::size_t>(m) * static_cast<std::size_t>(c.N) + static_cast<std::size_t>(n);
        float value = bias[n] + products(c, in, &weights[static_cast<std::size_t>(n * channels * kernel * kernel)],
                                         channels, kernel, m);
        if (c.residual != kNone) value += from_half(at<Half>(net, c.residual)[i]);
        if (c.relu) value = std::max(value, 0.0F);
        at<Half>(net, c.out)[i] = to_half(value);
      }
  }
}

void max_pool(const Net& net, const Phase& p) {
  const int height = (p.H + 1) / 2, width = (p.W + 1) / 2;
  for (int image = 0; image < net.images; ++image)
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
  for (int image = 0; image < net.images; ++image)
    for (int c = 0; c < p.C; ++c) {
      float sum = 0;
      for (int m = 0; m < pixels; ++m) sum += from_half(at<Half>(net, p.in)[(image * pixels + m) * p.C + c]);
      at<float>(net, p.out)[image * p.C + c] = sum / static_cast<float>(pixels);
    }
}

void classify(const Net& net, const Phase& p) {
  const auto* weights = reinterpret_cast<const Half*>(net.weights + p.weights);
  const auto* bias = reinterpret_cast<const float*>(net.weights + p.bias);
  for (int image = 0; image < net.images; ++image)
    for (int row = 0; row < p.H; ++row) {
      float sum = bias[row];
      for (int c = 0; c < p.C; ++c) sum += from_half(weights[row * p.C + c]) * at<float>(net, p.in)[image * p.C + c];
      net.output[image * p.H + row] = sum;
    }
}

void run(void** arguments, void*) {
  const Net& net = *static_cast<const Net*>(arguments[0]);
  for (int i = 0; i < net.count; ++i) {
    const Phase& phase = net.phases[i];
    for (int k = 0; k < phase.convs; ++k) conv(net, phase.conv[k]);
    if (phase.kind == kPhaseMaxPool) max_pool(net, phase);
    if (phase.kind == kPhaseAvgPool) average_pool(net, phase);
    if (phase.kind == kPhaseFc) classify(net, phase);
  }
}

}  // namespace
}  // namespace ferry::latency

/// What the fake driver looks for: registers the kernels of this library.
extern "C" __attribute__((visibility("default"))) void fake_cuda_kernels(void (*define)(const char* name,
                                                                                        void (*work)(void**, void*),
                                                                                        void* user)) {
  define("ferry_resnet", ferry::latency::run, nullptr);
}
