#include "gpu/resnet_onnx.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "cuda/half.h"
#include "gpu/onnx_writer.h"

namespace ferry::testing {
namespace {

class Writer {
 public:
  Writer(bool int8, std::uint64_t seed) : int8_(int8), state_(seed * 2654435761 + 88172645463325252) {}

  /// Returns the name of the result. `range`: of the values it reads, where they are quantised.
  std::string conv(const std::string& name, const std::string& in, int from, int to, int kernel, int stride, float gain,
                   float range) {
    const float deviation = gain * std::sqrt(2.0F / static_cast<float>(from * kernel * kernel));
    const std::string x = quantised(in, range), w = weight(name + ".weight", {to, from, kernel, kernel}, deviation);
    const std::string b = bias(name + ".bias", to);
    const std::int64_t k = kernel, s = stride, pad = kernel / 2;
    graph_.message(1, onnx::node("Conv", name, {x, w, b}, name,
                                 {onnx::attribute("kernel_shape", {k, k}), onnx::attribute("strides", {s, s}),
                                  onnx::attribute("pads", {pad, pad, pad, pad})}));
    return name;
  }
  std::string op(const std::string& type, const std::string& name, const std::vector<std::string>& in,
                 const std::vector<onnx::Message>& attributes = {}) {
    graph_.message(1, onnx::node(type, name, in, name, attributes));
    return name;
  }
  /// Values of this deviation, one row for each output channel; returns the name to multiply by.
  std::string weight(const std::string& name, const std::vector<std::int64_t>& shape, float deviation) {
    std::size_t count = 1;
    for (const std::int64_t d : shape) count *= static_cast<std::size_t>(d);
    std::vector<float> values(count);
    for (float& value : values) value = deviation * uniform();
    if (!int8_) return halves(name, shape, values);
    const std::size_t row = count / static_cast<std::size_t>(shape[0]);
    std::vector<float> scales(static_cast<std::size_t>(shape[0]), 1e-6F);
    for (std::size_t i = 0; i < count; ++i) scales[i / row] = std::max(scales[i / row], std::fabs(values[i]) / 127);
    std::vector<signed char> rounded(count);
    for (std::size_t i = 0; i < count; ++i)
      rounded[i] = static_cast<signed char>(std::nearbyint(values[i] / scales[i / row]));
    graph_.message(5, onnx::tensor(name, onnx::kInt8, shape, onnx::raw(rounded)));
    graph_.message(5, onnx::tensor(name + ".scale", onnx::kFloat, {shape[0]}, onnx::raw(scales)));
    graph_.message(5, onnx::tensor(name + ".zero", onnx::kInt8, {shape[0]}, std::string(scales.size(), '\0')));
    return op("DequantizeLinear", name + ".dq", {name, name + ".scale", name + ".zero"},
              {onnx::attribute("axis", std::int64_t{0})});
  }
  std::string bias(const std::string& name, int count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = 0.1F * uniform();
    if (!int8_) return halves(name, {count}, values);
    graph_.message(5, onnx::tensor(name, onnx::kFloat, {count}, onnx::raw(values)));
    return name;
  }
  /// The name of `value` behind its pair of Q and DQ, which all readers share; in FP16 the value itself.
  std::string quantised(const std::string& value, float range) {
    if (!int8_ || !pairs_.insert(value).second) return int8_ ? value + ".dq" : value;
    graph_.message(5, onnx::tensor(value + ".scale", onnx::kFloat, {}, onnx::raw(std::vector<float>{range / 127})));
    graph_.message(5, onnx::tensor(value + ".zero", onnx::kInt8, {}, std::string(1, '\0')));
    op("QuantizeLinear", value + ".q", {value, value + ".scale", value + ".zero"});
    return op("DequantizeLinear", value + ".dq", {value + ".q", value + ".scale", value + ".zero"});
  }
  std::string cast(const std::string& name, const std::string& in, onnx::Type to) {
    return op(int8_ ? "Identity" : "Cast", name, {in}, {onnx::attribute("to", std::int64_t{to})});
  }
  onnx::Message& graph() { return graph_; }

 private:
  std::string halves(const std::string& name, const std::vector<std::int64_t>& shape, const std::vector<float>& from) {
    std::vector<std::uint16_t> values;
    values.reserve(from.size());
    for (const float value : from) values.push_back(latency::to_half(value));
    graph_.message(5, onnx::tensor(name, onnx::kHalf, shape, onnx::raw(values)));
    return name;
  }
  float uniform() {  // of variance 1
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (static_cast<float>(state_ >> 40) * (1.0F / 8388608.0F) - 1.0F) * 1.7320508F;
  }

  bool int8_;
  std::uint64_t state_;
  std::set<std::string> pairs_;
  onnx::Message graph_;
};

struct Value {
  std::string name;
  int channels;
};

/// The last convolution of a branch has a smaller gain, so that values do not grow from block to block.
Value block(Writer& w, const std::string& name, const Value& in, int planes, int stride, bool bottleneck, float range) {
  const int out = bottleneck ? 4 * planes : planes;
  std::string x = in.name, identity = in.name;
  const auto relu = [&](const std::string& value) { return w.op("Relu", value + ".relu", {value}); };
  if (bottleneck) {
    x = relu(w.conv(name + ".conv1", x, in.channels, planes, 1, 1, 1, range));
    x = relu(w.conv(name + ".conv2", x, planes, planes, 3, stride, 1, range));
    x = w.conv(name + ".conv3", x, planes, out, 1, 1, 0.25F, range);
  } else {
    x = relu(w.conv(name + ".conv1", x, in.channels, planes, 3, stride, 1, range));
    x = w.conv(name + ".conv2", x, planes, out, 3, 1, 0.25F, range);
  }
  if (stride != 1 || in.channels != out)
    identity = w.conv(name + ".downsample", in.name, in.channels, out, 1, stride, 0.7F, range);
  return {relu(w.op("Add", name + ".add", {x, w.quantised(identity, range)})), out};
}

}  // namespace

std::string resnet_onnx(const ResNetSpec& spec, std::uint64_t seed) {
  Writer w(spec.int8, seed);
  const std::string input = w.cast("input.half", "input", onnx::kHalf);
  const std::string stem = w.op("Relu", "relu", {w.conv("conv1", input, 3, spec.stem, 7, 2, 1, 5)});
  Value x{w.op("MaxPool", "maxpool", {stem},
               {onnx::attribute("kernel_shape", {3, 3}), onnx::attribute("strides", {2, 2}),
                onnx::attribute("pads", {1, 1, 1, 1})}),
          spec.stem};
  constexpr float kRanges[] = {12, 9, 7, 5};  // values shrink from stage to stage; few are beyond
  for (std::size_t stage = 0; stage < 4; ++stage)
    for (int i = 0; i < spec.depths[stage]; ++i)
      x = block(w, "layer" + std::to_string(stage + 1) + "." + std::to_string(i), x, spec.planes[stage],
                stage > 0 && i == 0 ? 2 : 1, spec.bottleneck, kRanges[stage > 0 && i == 0 ? stage - 1 : stage]);
  const std::string average = w.op("GlobalAveragePool", "average", {x.name});
  const std::string flat = w.op("Flatten", "flat", {average}, {onnx::attribute("axis", std::int64_t{1})});
  const std::string features = w.quantised(flat, 4), fc = w.weight("fc.weight", {spec.classes, x.channels}, 0.02F);
  w.op("Gemm", "fc", {features, fc, w.bias("fc.bias", spec.classes)}, {onnx::attribute("transB", std::int64_t{1})});
  w.cast("output", "fc", onnx::kFloat);
  w.graph().message(11, onnx::port("input", onnx::kFloat, {0, 3, spec.height, spec.width}));
  w.graph().message(12, onnx::port("output", onnx::kFloat, {0, spec.classes}));
  return onnx::model(w.graph());
}

}  // namespace ferry::testing
