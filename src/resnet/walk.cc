#include "resnet/walk.h"

namespace ferry {
namespace {

struct Place {
  std::string prefix;  // "layer3.22."
  int in, planes, width, out, stride, reduction;
};

Layer conv(const std::string& prefix, const char* name, const char* norm, Shape weight, int reduction) {
  return {Layer::kConv, prefix + name, prefix + norm, std::move(weight), reduction, false};
}

void add_block(const ResNetArchitecture& net, const Place& at, std::vector<Layer>& layers) {
  const int halved = at.reduction * at.stride;
  if (net.block == ResNetArchitecture::Block::kBasic) {
    layers.push_back(conv(at.prefix, "conv1", "bn1", {at.planes, at.in, 3, 3}, halved));
    layers.push_back(conv(at.prefix, "conv2", "bn2", {at.planes, at.planes, 3, 3}, halved));
  } else {
    layers.push_back(conv(at.prefix, "conv1", "bn1", {at.width, at.in, 1, 1}, at.reduction));
    layers.push_back(conv(at.prefix, "conv2", "bn2", {at.width, at.width / net.groups, 3, 3}, halved));
    layers.push_back(conv(at.prefix, "conv3", "bn3", {at.out, at.width, 1, 1}, halved));
  }
  layers.back().ends_block = true;
  if (at.stride != 1 || at.in != at.out)
    layers.push_back(conv(at.prefix, "downsample.0", "downsample.1", {at.out, at.in, 1, 1}, halved));
}

}  // namespace

std::vector<Layer> layers_of(const ResNetArchitecture& net) {
  std::vector<Layer> layers;
  layers.push_back(conv("", "conv1", "bn1", {net.stem_channels, net.input_channels, 7, 7}, 2));
  int in = net.stem_channels, reduction = 4;  // after the pooling
  for (std::size_t stage = 0; stage < 4; ++stage) {
    const int out = net.planes[stage] * net.expansion();
    for (int block = 0; block < net.depths[stage]; ++block) {
      const int stride = stage > 0 && block == 0 ? 2 : 1;
      const std::string prefix = "layer" + std::to_string(stage + 1) + "." + std::to_string(block) + ".";
      add_block(net, {prefix, in, net.planes[stage], net.widths[stage], out, stride, reduction}, layers);
      in = out;
      reduction *= stride;
    }
  }
  layers.push_back({Layer::kLinear, "fc", "", {net.num_classes, in}, reduction, false});
  return layers;
}

}  // namespace ferry
