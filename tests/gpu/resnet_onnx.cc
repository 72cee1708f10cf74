#include "gpu/resnet_onnx.h"

#include <cmath>
#include <vector>

#include "gpu/half.h"
#include "gpu/onnx_writer.h"

namespace ferry::testing {
namespace {

class Writer {
 public:
  explicit Writer(std::uint64_t seed) : state_(seed * 2654435761 + 88172645463325252) {}

  /// Returns the name of the result.
  std::string conv(const std::string& name, const std::string& in, int from, int to, int kernel, int stride,
                   float gain) {
    const float deviation = gain * std::sqrt(2.0F / static_cast<float>(from * kernel * kernel));
    weight(name + ".weight", {to, from, kernel, kernel}, deviation);
    weight(name + ".bias", {to}, 0.1F);
    const std::int64_t k = kernel, s = stride, pad = kernel / 2;
    graph_.message(1, onnx::node("Conv", name, {in, name + ".weight", name + ".bias"}, name,
                                 {onnx::attribute("kernel_shape", {k, k}), onnx::attribute("strides", {s, s}),
                                  onnx::attribute("pads", {pad, pad, pad, pad})}));
    return name;
  }
  std::string op(const std::string& type, const std::string& name, const std::vector<std::string>& in,
                 const std::vector<onnx::Message>& attributes = {}) {
    graph_.message(1, onnx::node(type, name, in, name, attributes));
    return name;
  }
  void weight(const std::string& name, const std::vector<std::int64_t>& shape, float deviation) {
    std::size_t count = 1;
    for (const std::int64_t d : shape) count *= static_cast<std::size_t>(d);
    std::vector<std::uint16_t> values(count);
    for (auto& value : values) value = latency::to_half(deviation * uniform());
    graph_.message(5, onnx::tensor(name, onnx::kHalf, shape, onnx::raw(values)));
  }
  onnx::Message& graph() { return graph_; }

 private:
  float uniform() {  // of variance 1
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (static_cast<float>(state_ >> 40) * (1.0F / 8388608.0F) - 1.0F) * 1.7320508F;
  }
  std::uint64_t state_;
  onnx::Message graph_;
};

struct Value {
  std::string name;
  int channels;
};

/// The last convolution of a branch has a smaller gain, so that values do not grow from block to block.
Value block(Writer& w, const std::string& name, const Value& in, int planes, int stride, bool bottleneck) {
  const int out = bottleneck ? 4 * planes : planes;
  std::string x = in.name, identity = in.name;
  const auto relu = [&](const std::string& value) { return w.op("Relu", value + ".relu", {value}); };
  if (bottleneck) {
    x = relu(w.conv(name + ".conv1", x, in.channels, planes, 1, 1, 1));
    x = relu(w.conv(name + ".conv2", x, planes, planes, 3, stride, 1));
    x = w.conv(name + ".conv3", x, planes, out, 1, 1, 0.25F);
  } else {
    x = relu(w.conv(name + ".conv1", x, in.channels, planes, 3, stride, 1));
    x = w.conv(name + ".conv2", x, planes, out, 3, 1, 0.25F);
  }
  if (stride != 1 || in.channels != out)
    identity = w.conv(name + ".downsample", in.name, in.channels, out, 1, stride, 0.7F);
  return {relu(w.op("Add", name + ".add", {x, identity})), out};
}

}  // namespace

std::string resnet_onnx(const ResNetSpec& spec, std::uint64_t seed) {
  Writer w(seed);
  w.op("Cast", "input.half", {"input"}, {onnx::attribute("to", std::int64_t{onnx::kHalf})});
  const std::string stem = w.op("Relu", "relu", {w.conv("conv1", "input.half", 3, spec.stem, 7, 2, 1)});
  Value x{w.op("MaxPool", "maxpool", {stem},
               {onnx::attribute("kernel_shape", {3, 3}), onnx::attribute("strides", {2, 2}),
                onnx::attribute("pads", {1, 1, 1, 1})}),
          spec.stem};
  for (std::size_t stage = 0; stage < 4; ++stage)
    for (int i = 0; i < spec.depths[stage]; ++i)
      x = block(w, "layer" + std::to_string(stage + 1) + "." + std::to_string(i), x, spec.planes[stage],
                stage > 0 && i == 0 ? 2 : 1, spec.bottleneck);
  const std::string average = w.op("GlobalAveragePool", "average", {x.name});
  const std::string flat = w.op("Flatten", "flat", {average}, {onnx::attribute("axis", std::int64_t{1})});
  w.weight("fc.weight", {spec.classes, x.channels}, 0.02F);
  w.weight("fc.bias", {spec.classes}, 0.1F);
  w.op("Gemm", "fc", {flat, "fc.weight", "fc.bias"}, {onnx::attribute("transB", std::int64_t{1})});
  w.op("Cast", "output", {"fc"}, {onnx::attribute("to", std::int64_t{onnx::kFloat})});
  w.graph().message(11, onnx::port("input", onnx::kFloat, {0, 3, spec.height, spec.width}));
  w.graph().message(12, onnx::port("output", onnx::kFloat, {0, spec.classes}));
  return onnx::model(w.graph());
}

}  // namespace ferry::testing
