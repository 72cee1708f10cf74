// The layers of a ResNet that have weights, in torchvision's order.
#pragma once

#include <string>
#include <vector>

#include "ferry/resnet.h"

namespace ferry {

struct Layer {
  enum Kind { kConv, kLinear } kind = kConv;
  std::string name;         // "layer3.22.conv2"
  std::string batch_norm;   // "layer3.22.bn2"; empty for a linear layer
  Shape weight;             // [out, in / groups, k, k] or [out, in]
  int reduction = 1;        // of the picture's height and width, from the input to this layer's output
  bool ends_block = false;  // its batch norm is the last one of the residual branch
};

/// Blocks widen, narrow and halve like torchvision's: the stride of stages 2 to 4 sits on conv2 of a bottleneck and on
/// conv1 of a basic block; a block has a downsample path where the stride or the channel count changes.
std::vector<Layer> layers_of(const ResNetArchitecture& architecture);

}  // namespace ferry
