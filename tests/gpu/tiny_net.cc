#include "gpu/tiny_net.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "gpu/onnx_writer.h"

namespace ferry::testing {
namespace {

using namespace onnx;

std::vector<float> weights(std::mt19937& random, std::size_t count, std::size_t fan_in) {
  std::normal_distribution<float> normal(0, std::sqrt(2.0f / static_cast<float>(fan_in)));
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Round to nearest even; test weights are far from the limits of the type.
std::uint16_t to_half(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, 4);
  const std::uint32_t sign = bits >> 16 & 0x8000, exponent = bits >> 23 & 255, mantissa = bits & 0x7FFFFF;
  if (exponent < 113) return static_cast<std::uint16_t>(sign);  // below the smallest normal half: 0
  const std::uint32_t half = (exponent - 112) << 10 | mantissa >> 13;
  const std::uint32_t rest = mantissa & 0x1FFF;
  return static_cast<std::uint16_t>(sign | (half + (rest > 0x1000 || (rest == 0x1000 && (half & 1)))));
}

std::string halves(const std::vector<float>& values) {
  std::vector<std::uint16_t> converted;
  for (const float value : values) converted.push_back(to_half(value));
  return raw(converted);
}

// Builds the graph in one of the three precisions; node names tell which layer they belong to.
class GraphWriter {
 public:
  explicit GraphWriter(std::string precision) : precision_(std::move(precision)) {}

  std::string conv(const std::string& name, const std::string& input, const std::vector<float>& values,
                   std::int64_t in) {
    const std::int64_t out = TinyNet::kWidth;
    const std::string weight = add_weight(name, values, {out, in, 3, 3});
    emit(node("Conv", name, {quantised(name, input), weight}, name + "_out",
              {attribute("pads", {1, 1, 1, 1}), attribute("kernel_shape", {3, 3})}));
    return name + "_out";
  }
  std::string relu(const std::string& name, const std::string& input) {
    emit(node("Relu", name, {input}, name + "_out"));
    return name + "_out";
  }
  std::string dense(const std::string& name, const std::string& input, const std::vector<float>& values) {
    const std::string weight = add_weight(name, values, {TinyNet::kClasses, TinyNet::kWidth});
    emit(node("Gemm", name, {quantised(name, input), weight}, name + "_out", {attribute("transB", 1)}));
    return name + "_out";
  }
  std::string cast(const std::string& name, const std::string& input, Type type, const std::string& output) {
    if (precision_ != "fp16") return input;
    emit(node("Cast", name, {input}, output, {attribute("to", type)}));
    return output;
  }
  void emit(const Message& made) { graph_.message(1, made); }
  Message& graph() { return graph_; }

 private:
  std::string add_weight(const std::string& name, const std::vector<float>& values,
                         const std::vector<std::int64_t>& shape) {
    if (precision_ == "int8") return add_int8_weight(name, values, shape);
    const bool half = precision_ == "fp16";
    graph_.message(5, tensor(name + "_w", half ? kHalf : kFloat, shape, half ? halves(values) : raw(values)));
    return name + "_w";
  }

  // Symmetric, one scale for each output channel.
  std::string add_int8_weight(const std::string& name, const std::vector<float>& values,
                              const std::vector<std::int64_t>& shape) {
    const std::size_t channels = static_cast<std::size_t>(shape[0]), each = values.size() / channels;
    std::vector<float> scales(channels);
    std::vector<std::int8_t> quantised(values.size()), zeros(channels, 0);
    for (std::size_t c = 0; c < channels; ++c) {
      float largest = 0;
      for (std::size_t i = 0; i < each; ++i) largest = std::max(largest, std::abs(values[c * each + i]));
      scales[c] = largest / 127;
      for (std::size_t i = 0; i < each; ++i) {
        quantised[c * each + i] = static_cast<std::int8_t>(std::lround(values[c * each + i] / scales[c]));
      }
    }
    graph_.message(5, tensor(name + "_q", kInt8, shape, raw(quantised)));
    graph_.message(5, tensor(name + "_s", kFloat, {shape[0]}, raw(scales)));
    graph_.message(5, tensor(name + "_z", kInt8, {shape[0]}, raw(zeros)));
    emit(node("DequantizeLinear", name + "_wdq", {name + "_q", name + "_s", name + "_z"}, name + "_w",
              {attribute("axis", 0)}));
    return name + "_w";
  }

  // Q/DQ in front of a layer; the scale covers what these seeded networks produce.
  std::string quantised(const std::string& name, const std::string& input) {
    if (precision_ != "int8") return input;
    graph_.message(5, tensor(name + "_as", kFloat, {}, raw(std::vector<float>{8.0f / 127})));
    graph_.message(5, tensor(name + "_az", kInt8, {}, raw(std::vector<std::int8_t>{0})));
    emit(node("QuantizeLinear", name + "_aq", {input, name + "_as", name + "_az"}, name + "_aq"));
    emit(node("DequantizeLinear", name + "_adq", {name + "_aq", name + "_as", name + "_az"}, name + "_adq"));
    return name + "_adq";
  }

  std::string precision_;
  Message graph_;
};

using Map = std::vector<double>;  // [channels][size][size]

Map convolve(const Map& in, int channels, const std::vector<float>& weight) {
  constexpr int n = TinyNet::kSize;
  Map out(static_cast<std::size_t>(TinyNet::kWidth) * n * n, 0.0);
  for (int o = 0; o < TinyNet::kWidth; ++o)
    for (int i = 0; i < channels; ++i)
      for (int k = 0; k < 9; ++k) {
        const double w = weight[static_cast<std::size_t>((o * channels + i) * 9 + k)];
        for (int y = std::max(0, 1 - k / 3); y < std::min(n, n + 1 - k / 3); ++y)
          for (int x = std::max(0, 1 - k % 3); x < std::min(n, n + 1 - k % 3); ++x)
            out[static_cast<std::size_t>((o * n + y) * n + x)] +=
                w * in[static_cast<std::size_t>((i * n + y + k / 3 - 1) * n + x + k % 3 - 1)];
      }
  return out;
}

void rectify(Map& map) {
  for (double& value : map) value = std::max(value, 0.0);
}

}  // namespace

TinyNet::TinyNet(std::uint32_t seed) {
  std::mt19937 random(seed);
  conv1 = weights(random, std::size_t{kWidth} * kChannels * 9, kChannels * 9);
  conv2 = weights(random, std::size_t{kWidth} * kWidth * 9, kWidth * 9);
  conv3 = weights(random, std::size_t{kWidth} * kWidth * 9, kWidth * 18);
  dense = weights(random, std::size_t{kClasses} * kWidth, kWidth);
}

std::string TinyNet::onnx(const std::string& precision, std::int64_t batch) const {
  GraphWriter writer(precision);
  const std::string image = writer.cast("to_half", "input", kHalf, "image");
  const std::string stem = writer.relu("stem.relu", writer.conv("stem", image, conv1, kChannels));
  const std::string inner = writer.relu("block.relu1", writer.conv("block.conv1", stem, conv2, kWidth));
  const std::string outer = writer.conv("block.conv2", inner, conv3, kWidth);
  writer.emit(node("Add", "block.add", {outer, stem}, "sum"));
  const std::string block = writer.relu("block.relu2", "sum");
  writer.emit(node("GlobalAveragePool", "pool", {block}, "pooled"));
  writer.emit(node("Flatten", "flatten", {"pooled"}, "features"));
  const std::string logits = writer.dense("fc", "features", dense);
  if (precision == "fp16") {
    writer.cast("to_float", logits, kFloat, "output");
  } else {
    writer.emit(node("Identity", "last", {logits}, "output"));
  }
  writer.graph().text(2, "tiny").message(11, port("input", kFloat, {batch, kChannels, kSize, kSize}));
  writer.graph().message(12, port("output", kFloat, {batch, kClasses}));
  return model(writer.graph());
}

std::vector<float> TinyNet::answer(const std::vector<float>& images, std::size_t count) const {
  std::vector<float> logits;
  for (std::size_t image = 0; image < count; ++image) {
    const auto* begin = images.data() + image * kRow;
    Map stem = convolve(Map(begin, begin + kRow), kChannels, conv1);
    rectify(stem);
    Map inner = convolve(stem, kWidth, conv2);
    rectify(inner);
    Map outer = convolve(inner, kWidth, conv3);
    for (std::size_t i = 0; i < outer.size(); ++i) outer[i] += stem[i];
    rectify(outer);
    for (int c = 0; c < kClasses; ++c) {
      double sum = 0;
      for (std::size_t i = 0; i < outer.size(); ++i)
        sum += outer[i] * dense[static_cast<std::size_t>(c) * kWidth + i / (kSize * kSize)];
      logits.push_back(static_cast<float>(sum / (kSize * kSize)));
    }
  }
  return logits;
}

std::vector<float> TinyNet::images(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count * kRow);
  for (float& value : values) value = normal(random);
  return values;
}

double relative_error(const std::vector<float>& out, const std::vector<float>& expected) {
  if (out.size() != expected.size()) return std::numeric_limits<double>::quiet_NaN();
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    difference += std::pow(double{out[i]} - double{expected[i]}, 2);
    norm += std::pow(double{expected[i]}, 2);
  }
  return std::isfinite(difference) ? std::sqrt(difference / norm) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace ferry::testing
