#include "libtorch/network.h"

#include <sstream>

#include "module/module.h"

namespace ferry::libtorch {
namespace {

using module::Failure;

template <typename Convolution>
at::Tensor convolve(const Convolution& c, const at::Tensor& x) {
  const at::Tensor y = at::conv2d(x, c.weight, {}, c.stride, c.padding, 1, c.groups);
  return at::batch_norm(y, c.norm.weight, c.norm.bias, c.norm.mean, c.norm.variance, /*training=*/false,
                        /*momentum=*/0.1, /*eps=*/1e-5, /*cudnn_enabled=*/true);
}

template <typename Block>
at::Tensor run_block(const Block& block, const at::Tensor& x) {
  at::Tensor y = x;
  for (std::size_t i = 0; i < block.path.size(); ++i) {
    y = convolve(block.path[i], y);
    if (i + 1 < block.path.size()) y.relu_();
  }
  y += block.shortcut ? convolve(*block.shortcut, x) : x;
  return y.relu_();
}

std::string text_of(at::IntArrayRef shape) {
  std::ostringstream text;
  text << shape;
  return text.str();
}

}  // namespace

Architecture Architecture::parse(const char* text) {
  const nlohmann::json json = nlohmann::json::parse(text == nullptr ? "" : text, nullptr, false);
  if (!json.is_object()) throw Failure("architecture", "the architecture is not a JSON object");
  Architecture a;
  a.bottleneck = json.at("block") == "bottleneck";
  a.depths = json.at("depths");
  a.planes = json.at("planes");
  a.widths = json.at("widths");
  a.groups = json.at("groups");
  a.stem_channels = json.at("stem_channels");
  a.input_channels = json.at("input_channels");
  a.num_classes = json.at("num_classes");
  return a;
}

Network::Network(const Architecture& a, const ferry_tensor* weights, std::size_t count, const Placement& placement)
    : placement_(placement) {
  const c10::InferenceMode no_gradients;
  Given given;
  for (std::size_t i = 0; i < count; ++i) given[weights[i].name] = &weights[i];
  stem_ = take_convolution(given, "conv1", "bn1", {a.input_channels, a.stem_channels, 7, 2, 1});
  std::int64_t in = a.stem_channels;
  for (std::size_t stage = 0; stage < 4; ++stage)
    for (std::int64_t i = 0; i < a.depths[stage]; ++i) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(i) + ".";
      blocks_.push_back(take_block(given, a, name, stage, in, i == 0 && stage > 0 ? 2 : 1));
      in = a.planes[stage] * a.expansion();
    }
  fc_weight_ = take(given, "fc.weight", {a.num_classes, in});
  fc_bias_ = take(given, "fc.bias", {a.num_classes});
  ++layers_;
}

at::Tensor Network::take(const Given& given, const std::string& name, at::IntArrayRef shape) {
  const auto found = given.find(name);
  if (found == given.end()) throw Failure(name, "this weight is missing");
  const ferry_tensor& t = *found->second;
  const at::IntArrayRef has(t.shape, static_cast<std::size_t>(t.rank));
  if (t.dtype != 1) throw Failure(name, "weights are float32; this one has type " + std::to_string(t.dtype));
  if (has != shape) throw Failure(name, "the shape is " + text_of(has) + ", the architecture needs " + text_of(shape));
  const at::Tensor view = at::from_blob(const_cast<void*>(t.data), has, at::kFloat);
  bytes_ += view.numel() * static_cast<std::int64_t>(at::elementSize(placement_.type));
  const at::MemoryFormat format = t.rank == 4 ? placement_.format : at::MemoryFormat::Contiguous;
  return view.to(at::TensorOptions(placement_.device).dtype(placement_.type), /*non_blocking=*/false, /*copy=*/true,
                 format);
}

Network::BatchNorm Network::take_norm(const Given& given, const std::string& name, std::int64_t channels) {
  return {take(given, name + ".weight", {channels}), take(given, name + ".bias", {channels}),
          take(given, name + ".running_mean", {channels}), take(given, name + ".running_var", {channels})};
}

Network::Convolution Network::take_convolution(const Given& given, const std::string& convolution,
                                               const std::string& norm, const ConvolutionShape& s) {
  ++layers_;
  return {take(given, convolution + ".weight", {s.out, s.in / s.groups, s.kernel, s.kernel}), s.stride, s.kernel / 2,
          s.groups, take_norm(given, norm, s.out)};
}

Network::Block Network::take_block(const Given& given, const Architecture& a, const std::string& name,
                                   std::size_t stage, std::int64_t in, std::int64_t stride) {
  const std::int64_t width = a.widths[stage], out = a.planes[stage] * a.expansion();
  // The stride sits on the first 3x3 convolution ("ResNet v1.5").
  std::vector<ConvolutionShape> shapes{{in, out, 3, stride, 1}, {out, out, 3, 1, 1}};
  if (a.bottleneck) shapes = {{in, width, 1, 1, 1}, {width, width, 3, stride, a.groups}, {width, out, 1, 1, 1}};
  Block block;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const std::string number = std::to_string(i + 1);
    block.path.push_back(take_convolution(given, name + "conv" + number, name + "bn" + number, shapes[i]));
  }
  if (stride != 1 || in != out)
    block.shortcut = take_convolution(given, name + "downsample.0", name + "downsample.1", {in, out, 1, stride, 1});
  return block;
}

at::Tensor Network::forward(const at::Tensor& input) const {
  at::Tensor x = input.to(placement_.type, /*non_blocking=*/false, /*copy=*/false, placement_.format);
  x = convolve(stem_, x).relu_();
  x = at::max_pool2d(x, 3, 2, 1);
  for (const Block& block : blocks_) x = run_block(block, x);
  x = at::flatten(at::adaptive_avg_pool2d(x, {1, 1}), 1);
  return at::linear(x, fc_weight_, fc_bias_).to(at::kFloat);
}

}  // namespace ferry::libtorch
