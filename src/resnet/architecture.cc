// The architecture's name, and what it implies: tensors, parameters, operations.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ferry/error.h"
#include "ferry/resnet.h"
#include "resnet/walk.h"

namespace ferry {
namespace {

using Block = ResNetArchitecture::Block;

struct Named {
  const char* name;
  Block block;
  std::array<int, 4> depths;
  int groups, width_per_group;
};
// torchvision/models/resnet.py, in its order.
constexpr std::array kNamed = {
    Named{"resnet18", Block::kBasic, {2, 2, 2, 2}, 1, 64},
    Named{"resnet34", Block::kBasic, {3, 4, 6, 3}, 1, 64},
    Named{"resnet50", Block::kBottleneck, {3, 4, 6, 3}, 1, 64},
    Named{"resnet101", Block::kBottleneck, {3, 4, 23, 3}, 1, 64},
    Named{"resnet152", Block::kBottleneck, {3, 8, 36, 3}, 1, 64},
    Named{"resnext50_32x4d", Block::kBottleneck, {3, 4, 6, 3}, 32, 4},
    Named{"resnext101_32x8d", Block::kBottleneck, {3, 4, 23, 3}, 32, 8},
    Named{"resnext101_64x4d", Block::kBottleneck, {3, 4, 23, 3}, 64, 4},
    Named{"wide_resnet50_2", Block::kBottleneck, {3, 4, 6, 3}, 1, 128},
    Named{"wide_resnet101_2", Block::kBottleneck, {3, 4, 23, 3}, 1, 128},
};

ResNetArchitecture make(const Named& named) {
  ResNetArchitecture architecture;
  architecture.block = named.block;
  architecture.depths = named.depths;
  architecture.groups = named.groups;
  for (std::size_t i = 0; i < 4; ++i)
    architecture.widths[i] = architecture.planes[i] * named.width_per_group / 64 * named.groups;
  return architecture;
}

bool same_network(const ResNetArchitecture& a, ResNetArchitecture b) {
  b.num_classes = a.num_classes;
  b.input_channels = a.input_channels;
  return a == b;
}

bool doubles(const std::array<int, 4>& channels) {
  return channels[1] == 2 * channels[0] && channels[2] == 2 * channels[1] && channels[3] == 2 * channels[2];
}

// "64" where the stages double, "64x96x128x256" where they do not.
std::string channels(const std::array<int, 4>& stages) {
  return doubles(stages) ? std::to_string(stages[0]) : fmt::format("{}", fmt::join(stages, "x"));
}

}  // namespace

std::string ResNetArchitecture::name() const {
  for (const Named& named : kNamed)
    if (same_network(*this, make(named))) return named.name;
  std::string text =
      fmt::format("resnet-{}-{}", block == Block::kBasic ? "basic" : "bottleneck", fmt::join(depths, "x"));
  if (planes[0] != 64 || !doubles(planes)) text += "-planes" + channels(planes);
  if (widths != planes) text += "-widths" + channels(widths);
  if (groups != 1) text += fmt::format("-groups{}", groups);
  if (stem_channels != planes[0]) text += fmt::format("-stem{}", stem_channels);
  return text;
}

ResNetArchitecture architecture_named(const std::string& name) {
  for (const Named& named : kNamed)
    if (name == named.name) return make(named);
  throw Error(Stage::kUsage, name, "not the name of a ResNet",
              fmt::format("Known names: {}.", fmt::join(architecture_names(), ", ")));
}

const std::vector<std::string>& architecture_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    all.reserve(std::size(kNamed));
    for (const Named& named : kNamed) all.push_back(named.name);
    return all;
  }();
  return names;
}

std::vector<ExpectedTensor> expected_tensors(const ResNetArchitecture& architecture) {
  std::vector<ExpectedTensor> tensors;
  for (const Layer& layer : layers_of(architecture)) {
    tensors.push_back({layer.name + ".weight", layer.weight});
    if (layer.kind == Layer::kConv) {
      for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"})
        tensors.push_back({layer.batch_norm + part, {layer.weight[0]}});
    } else {
      tensors.push_back({layer.name + ".bias", {layer.weight[0]}});
    }
  }
  return tensors;
}

std::int64_t ResNetArchitecture::parameters() const {
  std::int64_t count = 0;
  for (const ExpectedTensor& tensor : expected_tensors(*this))
    if (tensor.name.find(".running_") == std::string::npos) count += element_count(tensor.shape);
  return count;
}

double ResNetArchitecture::flops(int height, int width) const {
  double total = 0;
  for (const Layer& layer : layers_of(*this)) {
    double multiply_adds = static_cast<double>(element_count(layer.weight));
    if (layer.kind == Layer::kConv) {  // every padding keeps ceil(size / stride)
      const int rows = (height - 1) / layer.reduction + 1, columns = (width - 1) / layer.reduction + 1;
      multiply_adds *= static_cast<double>(rows) * columns;
    }
    total += 2 * multiply_adds;
  }
  return total;
}

}  // namespace ferry
