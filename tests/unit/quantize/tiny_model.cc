#include "unit/quantize/tiny_model.h"

#include <cmath>

#include "ferry/resnet.h"
#include "onnx/model_impl.h"
#include "quantize/layers.h"

namespace ferry {
namespace {

ResNetArchitecture tiny(ResNetArchitecture::Block block) {
  ResNetArchitecture net;
  net.block = block;
  net.depths = {2, 1, 1, 1};
  net.planes = net.widths = {4, 4, 8, 8};
  net.stem_channels = 8;
  net.num_classes = 5;
  return net;
}

}  // namespace

OnnxModel tiny_model(ResNetArchitecture::Block block) { return export_onnx(random_resnet(tiny(block), 3), {}); }

Calibration made_up(const OnnxModel& model) {
  Calibration calibration;
  const onnx::GraphProto& graph = model.impl().proto.graph();
  const LayerPlan plan = plan_layers(model);
  std::map<std::string, std::int64_t> channels;
  for (const QuantizedLayer& layer : plan.layers) {
    for (const auto& tensor : graph.initializer())
      if (tensor.name() == layer.weight) {
        channels[layer.input] = tensor.dims(1);
        for (const std::string& written : {layer.residual, layer.pooled})
          if (!written.empty()) channels[written] = tensor.dims(0);
      }
  }
  std::uint64_t seed = 1;
  for (const auto& [name, count] : channels) {
    Tensor values = Tensor::random_normal({1, count, 64}, seed++);
    for (std::int64_t c = 0; c < count; ++c)  // channels of very different size
      for (int i = 0; i < 64; ++i) values.floats()[c * 64 + i] *= std::exp2f(static_cast<float>(c % 5));
    calibration.tensors[name].add(values.view(), name);
  }
  calibration.images = 1;
  return calibration;
}

PictureMoments slow_pictures() {
  Tensor pictures = Tensor::random_normal({4, 3, 24, 24}, 9);
  const std::span<float> values = pictures.floats();
  for (std::size_t i = 1; i < values.size(); ++i) values[i] = 0.95f * values[i - 1] + 0.1f * values[i];
  PictureMoments moments;
  moments.add(pictures.view(), 2);
  return moments;
}

}  // namespace ferry
