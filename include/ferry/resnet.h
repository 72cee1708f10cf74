// What a ResNet is: its architecture, read from the names and shapes of its weights alone.
//
// Names follow torchvision (torchvision/models/resnet.py): conv1, bn1, layer{1..4}.{i}.{conv,bn}{1..3},
// layerS.0.downsample.{0,1}, fc. The stride of a bottleneck sits on its 3x3 convolution ("ResNet v1.5").
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ferry/checkpoint.h"
#include "ferry/tensor.h"

namespace ferry {

struct ResNetArchitecture {
  enum class Block { kBasic, kBottleneck };
  Block block = Block::kBottleneck;
  std::array<int, 4> depths{3, 4, 23, 3};        // blocks in layer1..layer4
  std::array<int, 4> planes{64, 128, 256, 512};  // output channels of a stage / expansion
  std::array<int, 4> widths{64, 128, 256, 512};  // channels of the 3x3 convolution
  int groups = 1;                                // of the 3x3 convolution
  int stem_channels = 64;                        // output channels of the 7x7 convolution
  int input_channels = 3;
  int num_classes = 1000;

  int expansion() const noexcept { return block == Block::kBasic ? 1 : 4; }
  /// torchvision's name ("resnet101", "resnext50_32x4d", "wide_resnet101_2"), or a description such as
  /// "resnet-bottleneck-1x1x1x1" for one that torchvision does not have.
  std::string name() const;
  /// Floating-point operations of one image (a multiply-add counts as two), convolutions and classifier.
  double flops(int height = 224, int width = 224) const;
  std::int64_t parameters() const;
  bool operator==(const ResNetArchitecture&) const = default;
};

/// torchvision's ResNets by name; throws Error(kUsage) listing the known names for any other.
ResNetArchitecture architecture_named(const std::string& name);
/// The ten names, in torchvision's order.
const std::vector<std::string>& architecture_names();

/// What a tensor of the network must be called and what shape it must have, in torchvision's order (without
/// num_batches_tracked).
struct ExpectedTensor {
  std::string name;
  Shape shape;
};
std::vector<ExpectedTensor> expected_tensors(const ResNetArchitecture& architecture);

/// A network with its weights: float32 tensors under torchvision's names.
struct ResNet {
  ResNetArchitecture architecture;
  std::map<std::string, Tensor, std::less<>> weights;
  std::string origin;              // file name, or "random weights, seed 7": stands in every output
  bool random = false;             // weights are seeded, not trained
  std::vector<std::string> notes;  // from the checkpoint

  const Tensor& at(std::string_view name) const;  // throws Error(kModel)
};

/// Recognises the architecture from tensor names and shapes. Throws Error(kModel) naming the missing, extra or
/// misshapen tensor. num_batches_tracked is optional.
ResNetArchitecture recognise(const Checkpoint& checkpoint);

/// Loads a ResNet. With `expected`, a checkpoint of another architecture is refused and both are named.
ResNet load_resnet(const Checkpoint& checkpoint, const ResNetArchitecture* expected = nullptr);

/// Seeded weights: torchvision's initialisation (Kaiming normal, fan out), batch-norm scales and running statistics
/// such that activations keep a usable range. The same seed gives the same bits on every machine.
ResNet random_resnet(const ResNetArchitecture& architecture, std::uint64_t seed);

}  // namespace ferry
