// A ResNet's forward pass, written as plainly as possible: for narrow networks in tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "ferry/resnet.h"

namespace ferry {

struct Forward {
  std::vector<double> output;
  double largest = 0;  // magnitude of any value on the way
};

class Picture {
 public:
  Picture(std::int64_t c, std::int64_t h, std::int64_t w)
      : channels(c), height(h), width(w), values_(static_cast<std::size_t>(c * h * w)) {}
  double& at(std::int64_t c, std::int64_t y, std::int64_t x) {
    return values_[static_cast<std::size_t>((c * height + y) * width + x)];
  }
  /// 0 outside: padding.
  double padded(std::int64_t c, std::int64_t y, std::int64_t x) {
    return y < 0 || x < 0 || y >= height || x >= width ? 0.0 : at(c, y, x);
  }
  std::vector<double>& values() { return values_; }
  std::int64_t channels, height, width;

 private:
  std::vector<double> values_;
};

class Network {
 public:
  explicit Network(const ResNet& net) : net_(net) {}

  Forward run(const Tensor& image) {
    Picture x(image.shape()[0], image.shape()[1], image.shape()[2]);
    std::copy(image.floats().begin(), image.floats().end(), x.values().begin());
    x = pool(rectify(conv(x, "conv1", "bn1", 2)));
    for (std::size_t stage = 0; stage < 4; ++stage)
      for (int i = 0; i < net_.architecture.depths[stage]; ++i)
        x = block(x, "layer" + std::to_string(stage + 1) + "." + std::to_string(i) + ".", stage > 0 && i == 0 ? 2 : 1);
    return {classify(x), largest_};
  }

 private:
  Picture conv(Picture& in, const std::string& name, const std::string& norm, std::int64_t stride) {
    const Tensor& weight = net_.at(name + ".weight");
    const std::int64_t out = weight.shape()[0], each = weight.shape()[1], k = weight.shape()[2];
    const std::int64_t groups = in.channels / each;
    Picture result(out, (in.height - 1) / stride + 1, (in.width - 1) / stride + 1);
    for (std::int64_t o = 0; o < out; ++o)
      for (std::int64_t y = 0; y < result.height; ++y)
        for (std::int64_t x = 0; x < result.width; ++x) {
          double sum = 0;
          const float* w = weight.floats().data() + o * each * k * k;
          for (std::int64_t c = 0; c < each; ++c)
            for (std::int64_t i = 0; i < k; ++i)
              for (std::int64_t j = 0; j < k; ++j)
                sum += *w++ * in.padded(o / (out / groups) * each + c, y * stride + i - k / 2, x * stride + j - k / 2);
          result.at(o, y, x) = normalise(sum, norm, static_cast<std::size_t>(o));
        }
    return result;
  }
  double normalise(double value, const std::string& norm, std::size_t channel) {
    const auto part = [&](const char* name) { return static_cast<double>(net_.at(norm + name).floats()[channel]); };
    value = (value - part(".running_mean")) / std::sqrt(part(".running_var") + 1e-5) * part(".weight") + part(".bias");
    largest_ = std::max(largest_, std::abs(value));
    return value;
  }
  static Picture rectify(Picture x) {
    for (double& value : x.values()) value = std::max(value, 0.0);
    return x;
  }
  static Picture pool(Picture in) {
    Picture result(in.channels, (in.height - 1) / 2 + 1, (in.width - 1) / 2 + 1);
    for (std::int64_t c = 0; c < in.channels; ++c)
      for (std::int64_t y = 0; y < result.height; ++y)
        for (std::int64_t x = 0; x < result.width; ++x)
          for (std::int64_t i = 0; i < 9; ++i)  // values are rectified: padding with 0 is padding with -infinity
            result.at(c, y, x) = std::max(result.at(c, y, x), in.padded(c, 2 * y + i / 3 - 1, 2 * x + i % 3 - 1));
    return result;
  }
  Picture block(Picture& x, const std::string& at, std::int64_t stride) {
    const bool bottleneck = net_.architecture.block == ResNetArchitecture::Block::kBottleneck;
    Picture branch = rectify(conv(x, at + "conv1", at + "bn1", bottleneck ? 1 : stride));
    branch = conv(branch, at + "conv2", at + "bn2", bottleneck ? stride : 1);
    if (bottleneck) {
      branch = rectify(branch);
      branch = conv(branch, at + "conv3", at + "bn3", 1);
    }
    const bool shortcut = net_.weights.count(at + "downsample.0.weight") != 0;
    Picture sum = shortcut ? conv(x, at + "downsample.0", at + "downsample.1", stride) : x;
    for (std::size_t i = 0; i < sum.values().size(); ++i) sum.values()[i] += branch.values()[i];
    for (double value : sum.values()) largest_ = std::max(largest_, std::abs(value));
    return rectify(sum);
  }
  std::vector<double> classify(Picture& x) {
    std::vector<double> output;
    const auto weight = net_.at("fc.weight").floats();
    const std::int64_t pixels = x.height * x.width;
    for (int k = 0; k < net_.architecture.num_classes; ++k) {
      double sum = net_.at("fc.bias").floats()[static_cast<std::size_t>(k)];
      for (std::int64_t i = 0; i < x.channels * pixels; ++i)
        sum += weight[static_cast<std::size_t>(k * x.channels + i / pixels)] * x.values()[static_cast<std::size_t>(i)] /
               static_cast<double>(pixels);
      output.push_back(sum);
    }
    return output;
  }

  const ResNet& net_;
  double largest_ = 0;
};

inline Forward forward(const ResNet& net, const Tensor& image) { return Network(net).run(image); }

}  // namespace ferry
