// What the kernels can take, and in which order.
#include <algorithm>
#include <set>

#include "cuda/layers.h"
#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

constexpr int kMaxSide = 4096, kMaxChannels = 8192, kMaxFeatures = 2048, kMaxClasses = 1 << 20;

[[noreturn]] void refuse(const Layer& layer, const std::string& why) {
  throw nvinfer::Failure("layer '" + layer.name + "'", "layer '" + layer.name + "': " + why,
                         "this engine runs ResNets as ferry exports them; others: --backend tensorrt",
                         FERRY_UNSUPPORTED);
}

void need(bool holds, const Layer& layer, const char* otherwise) {
  if (!holds) refuse(layer, otherwise);
}

Shape halved(const Shape& shape, int stride, int channels) {
  return {(shape.height - 1) / stride + 1, (shape.width - 1) / stride + 1, channels};
}

void check_conv(const Layers& all, const Layer& layer) {
  const Shape &in = all.in(layer), &out = all.out(layer);
  need(layer.stride == 1 || layer.stride == 2, layer, "the stride must be 1 or 2");
  if (layer.in == 0) {
    need(layer.kernel == 7 && layer.stride == 2 && in.channels == 3 && layer.residual < 0, layer,
         "the first convolution must be 7x7 with stride 2 on three channels");
  } else {
    need(layer.kernel == 1 || layer.kernel == 3, layer, "a convolution behind the first must be 1x1 or 3x3");
  }
  need(out == halved(in, layer.stride, out.channels), layer, "its sizes do not follow from each other");
  if (layer.residual >= 0)
    need(all.tensors[static_cast<std::size_t>(layer.residual)] == out, layer, "what is added has another shape");
}

void check_kind(const Layers& all, const Layer& layer) {
  const Shape &in = all.in(layer), &out = all.out(layer);
  switch (layer.kind) {
    case LayerKind::kConv:
      check_conv(all, layer);
      break;
    case LayerKind::kMaxPool:
      need(layer.in != 0 && out == halved(in, 2, in.channels), layer, "its sizes do not follow from each other");
      break;
    case LayerKind::kAveragePool:
      need(layer.in != 0 && out == Shape{1, 1, in.channels}, layer, "its sizes do not follow from each other");
      need(in.channels <= kMaxFeatures, layer, "the classifier takes at most 2048 features");
      break;
    case LayerKind::kDense:
      need(in.height == 1 && in.width == 1 && in.channels <= kMaxFeatures && out.channels <= kMaxClasses, layer,
           "the classifier takes at most 2048 features of one pixel");
      break;
  }
}

void check_tensors(const Layers& all) {
  for (const Shape& shape : all.tensors) {
    const bool good = shape.height >= 1 && shape.height <= kMaxSide && shape.width >= 1 && shape.width <= kMaxSide &&
                      shape.channels >= 1 && shape.channels <= kMaxClasses;
    if (!good) throw nvinfer::Failure("plan", "a tensor has an impossible size", "build the plan again");
  }
  const bool image = !all.tensors.empty() && all.tensors[0].channels == 3 && all.tensors[0].width % 2 == 0;
  if (!image)
    throw nvinfer::Failure("plan", "the input is no image of three channels and even width", "build the plan again");
}

bool positive(float scale) { return scale >= 1e-20F && scale <= 1e20F; }

void check_scale_table(const Layers& all) {
  if (!all.int8()) return;
  const bool good = all.scales.size() == all.tensors.size() && all.scales.front() == 0 &&
                    std::all_of(all.scales.begin(), all.scales.end(), [](float s) { return s == 0 || positive(s); });
  if (!good) throw nvinfer::Failure("plan", "its scales are not those of its tensors", "build the plan again");
}

/// Which tensors of an INT8 network are int8: all but its input, what the average reads, and what it makes.
void check_scales(const Layers& all, const Layer& layer) {
  const float in = all.scale(layer.in), out = all.scale(layer.out);
  switch (layer.kind) {
    case LayerKind::kConv:
      need(layer.in == 0 || positive(in), layer, "it reads values that are not quantised, in a network that is");
      need(layer.in != 0 || positive(out), layer, "it gives values that are not quantised, in a network that is");
      need(layer.residual < 0 || positive(all.scale(layer.residual)), layer,
           "it adds values that are not quantised, in a network that is");
      break;
    case LayerKind::kMaxPool:
      need(positive(in) && in == out, layer, "what it reads and what it gives must be quantised by the same scale");
      break;
    case LayerKind::kAveragePool:
    case LayerKind::kDense:
      need(in == 0 && out == 0, layer, "the global average and the classifier take no quantised values");
      break;
  }
}

}  // namespace

void check_layers(const Layers& all) {
  check_tensors(all);
  check_scale_table(all);
  const int count = static_cast<int>(all.tensors.size());
  std::set<int> halves, floats;  // what the layers so far have made, by the type of its values
  for (const Layer& layer : all.layers) {
    const bool last = &layer == &all.layers.back(), dense = layer.kind == LayerKind::kDense;
    const bool numbers =
        layer.in >= 0 && layer.in < count && layer.out > 0 && layer.out < count && layer.residual < count;
    need(numbers, layer, "it names a tensor that does not exist");
    need(dense == last, layer, "the classifier must be the last layer, and no other may be");
    need(dense ? floats.count(layer.in) > 0 : layer.in == 0 || halves.count(layer.in) > 0, layer,
         dense ? "the classifier must be behind the global average" : "its input is not made before it");
    need(layer.residual < 0 || halves.count(layer.residual) > 0, layer, "what is added is not made before it");
    need(halves.count(layer.out) + floats.count(layer.out) == 0, layer, "its result is made twice");
    need(layer.kind == LayerKind::kConv || (layer.residual < 0 && !layer.relu), layer,
         "only convolutions add and clip");
    check_kind(all, layer);
    if (all.int8()) check_scales(all, layer);
    need(dense || all.out(layer).channels <= kMaxChannels, layer, "a layer has at most 8192 channels");
    (layer.kind == LayerKind::kAveragePool ? floats : halves).insert(layer.out);
  }
  if (all.layers.empty()) throw nvinfer::Failure("plan", "there are no layers", "build the plan again");
}

std::vector<std::vector<int>> schedule(const Layers& all) {
  std::vector<int> ready(all.tensors.size(), 0);  // the first phase that may read a tensor
  std::vector<std::vector<int>> phases;
  for (int i = 0; i < static_cast<int>(all.layers.size()); ++i) {
    const Layer& layer = all.layers[static_cast<std::size_t>(i)];
    std::size_t at = static_cast<std::size_t>(ready[static_cast<std::size_t>(layer.in)]);
    if (layer.residual >= 0)
      at = std::max(at, static_cast<std::size_t>(ready[static_cast<std::size_t>(layer.residual)]));
    const auto takes = [&](const std::vector<int>& phase) {
      const bool conv = layer.kind == LayerKind::kConv;
      return phase.size() == 1 && conv && all.layers[static_cast<std::size_t>(phase.front())].kind == LayerKind::kConv;
    };
    while (at < phases.size() && !takes(phases[at])) ++at;
    if (at == phases.size()) phases.emplace_back();
    phases[at].push_back(i);
    ready[static_cast<std::size_t>(layer.out)] = static_cast<int>(at) + 1;
  }
  return phases;
}

}  // namespace ferry::latency
