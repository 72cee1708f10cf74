// From tensor names and shapes to the architecture, and to the weights.
#include <limits>
#include <set>

#include "ferry/error.h"
#include "ferry/resnet.h"

namespace ferry {
namespace {

using Block = ResNetArchitecture::Block;

[[noreturn]] void refuse(const Checkpoint& checkpoint, const std::string& cause, const std::string& hint = {}) {
  throw Error(Stage::kModel, checkpoint.path(), cause, hint);
}

constexpr const char* kOtherNetworks =
    "ferry reads the weights of ResNets. Export another network with torch.onnx.export and give ferry the ONNX file.";

const CheckpointTensor& need(const Checkpoint& checkpoint, const std::string& name) {
  const CheckpointTensor* tensor = checkpoint.find(name);
  if (tensor == nullptr) refuse(checkpoint, "tensor '" + name + "' is missing", kOtherNetworks);
  return *tensor;
}

// One dimension of a weight, as a channel count.
int channels(const Checkpoint& checkpoint, const std::string& name, std::size_t dim, std::size_t rank) {
  const Shape& shape = need(checkpoint, name).shape;
  if (shape.size() != rank)
    refuse(checkpoint,
           "tensor '" + name + "' is " + to_string(shape) + "; " + std::to_string(rank) + " dimensions were expected",
           kOtherNetworks);
  if (shape[dim] < 1 || shape[dim] > std::numeric_limits<int>::max())
    refuse(checkpoint, "tensor '" + name + "' is " + to_string(shape) + ", which no network has");
  return static_cast<int>(shape[dim]);
}

// Says what a checkpoint without any of the expected names is.
void check_family(const Checkpoint& checkpoint) {
  if (checkpoint.find("conv1.weight") != nullptr || checkpoint.find("layer1.0.conv1.weight") != nullptr) return;
  const std::string first = checkpoint.tensors().front().name;
  refuse(checkpoint,
         "not a ResNet: none of its " + std::to_string(checkpoint.tensors().size()) +
             " tensors has a ResNet's name; the first is '" + first + "'",
         kOtherNetworks);
}

int blocks_in(const Checkpoint& checkpoint, const std::string& stage) {
  int count = 0;
  while (checkpoint.find(stage + std::to_string(count) + ".conv1.weight") != nullptr) ++count;
  if (count == 0) need(checkpoint, stage + "0.conv1.weight");
  return count;
}

int planes_of_bottleneck(const Checkpoint& checkpoint, const std::string& name) {
  const int out = channels(checkpoint, name, 0, 4);
  if (out % 4 != 0)
    refuse(checkpoint,
           "tensor '" + name + "' has " + std::to_string(out) + " output channels; a multiple of 4 was expected");
  return out / 4;
}

// The architecture that the telling tensors suggest; the others are checked against it afterwards.
ResNetArchitecture suggested(const Checkpoint& checkpoint) {
  ResNetArchitecture net;
  net.stem_channels = channels(checkpoint, "conv1.weight", 0, 4);
  net.input_channels = channels(checkpoint, "conv1.weight", 1, 4);
  const bool bottleneck = checkpoint.find("layer1.0.conv3.weight") != nullptr;
  net.block = bottleneck ? Block::kBottleneck : Block::kBasic;
  for (std::size_t i = 0; i < 4; ++i) {
    const std::string stage = "layer" + std::to_string(i + 1) + ".";
    net.depths[i] = blocks_in(checkpoint, stage);
    net.widths[i] = channels(checkpoint, stage + "0.conv1.weight", 0, 4);
    net.planes[i] = bottleneck ? planes_of_bottleneck(checkpoint, stage + "0.conv3.weight") : net.widths[i];
  }
  if (bottleneck) net.groups = net.widths[0] / channels(checkpoint, "layer1.0.conv2.weight", 1, 4);
  if (net.groups < 1) net.groups = 1;
  net.num_classes = channels(checkpoint, "fc.weight", 0, 2);
  return net;
}

void check_tensors(const Checkpoint& checkpoint, const ResNetArchitecture& net) {
  std::set<std::string, std::less<>> known;
  for (const ExpectedTensor& expected : expected_tensors(net)) {
    const CheckpointTensor& tensor = need(checkpoint, expected.name);
    if (tensor.shape != expected.shape)
      refuse(checkpoint,
             "tensor '" + expected.name + "' is " + to_string(tensor.shape) + "; " + to_string(expected.shape) +
                 " was expected of a " + net.name(),
             kOtherNetworks);
    const bool floating = tensor.dtype == DType::kFloat32 || tensor.dtype == DType::kFloat16 ||
                          tensor.dtype == DType::kBFloat16 || tensor.dtype == DType::kFloat64;
    if (!floating)
      refuse(checkpoint,
             "tensor '" + expected.name + "' is " + name_of(tensor.dtype) + "; a floating-point type was expected");
    known.insert(expected.name);
  }
  for (const CheckpointTensor& tensor : checkpoint.tensors())
    if (!tensor.name.ends_with(".num_batches_tracked") && known.find(tensor.name) == known.end())
      refuse(checkpoint,
             "tensor '" + tensor.name + "' (" + to_string(tensor.shape) + ") is not part of a " + net.name(),
             kOtherNetworks);
}

}  // namespace

ResNetArchitecture recognise(const Checkpoint& checkpoint) {
  check_family(checkpoint);
  const ResNetArchitecture net = suggested(checkpoint);
  check_tensors(checkpoint, net);
  return net;
}

ResNet load_resnet(const Checkpoint& checkpoint, const ResNetArchitecture* expected) {
  ResNet network;
  network.architecture = recognise(checkpoint);
  if (expected != nullptr) {
    ResNetArchitecture wanted = *expected;
    wanted.num_classes = network.architecture.num_classes;
    wanted.input_channels = network.architecture.input_channels;
    if (wanted != network.architecture)
      refuse(checkpoint, "the checkpoint is a " + network.architecture.name() + ", not a " + wanted.name(),
             "Give the checkpoint of a " + wanted.name() + ", or leave out what you expect.");
  }
  network.origin = checkpoint.path();
  network.notes = checkpoint.notes();
  for (const ExpectedTensor& tensor : expected_tensors(network.architecture))
    network.weights.emplace(tensor.name, checkpoint.load(*checkpoint.find(tensor.name), DType::kFloat32));
  return network;
}

const Tensor& ResNet::at(std::string_view name) const {
  const auto found = weights.find(name);
  if (found == weights.end())
    throw Error(Stage::kModel, origin, "the network has no tensor '" + std::string(name) + "'");
  return found->second;
}

}  // namespace ferry
