#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ferry/resnet.h"
#include "forward.h"

namespace ferry {
namespace {

ResNetArchitecture narrow(ResNetArchitecture::Block block, std::array<int, 4> depths) {
  ResNetArchitecture net;
  net.block = block;
  net.depths = depths;
  net.planes = net.widths = {8, 16, 32, 64};
  net.stem_channels = 8;
  net.num_classes = 10;
  return net;
}

TEST(RandomResNet, SameSeedSameBits) {
  const ResNetArchitecture net = narrow(ResNetArchitecture::Block::kBottleneck, {1, 2, 1, 1});
  const ResNet a = random_resnet(net, 7), b = random_resnet(net, 7), other = random_resnet(net, 8);
  ASSERT_EQ(a.weights.size(), expected_tensors(net).size());
  for (const auto& [name, tensor] : a.weights)
    EXPECT_EQ(std::memcmp(tensor.data(), b.at(name).data(), tensor.size_bytes()), 0) << name;
  EXPECT_NE(a.at("conv1.weight").floats()[0], other.at("conv1.weight").floats()[0]);
  EXPECT_NE(a.at("layer1.0.conv1.weight").floats()[0], a.at("layer2.0.conv1.weight").floats()[0]);
  EXPECT_TRUE(a.random);
  EXPECT_EQ(a.origin, "random weights, seed 7");
}

// These bits must come out of every machine, compiler and standard library. (The normal and uniform ones were computed
// by a second implementation too, in Python.)
TEST(RandomResNet, BitsAreThoseOfEveryOtherMachine) {
  const ResNet net = random_resnet(architecture_named("resnet18"), 1);
  const auto bits = [&](const char* name, std::size_t index) {
    std::uint32_t value;
    std::memcpy(&value, net.at(name).floats().data() + index, 4);
    return value;
  };
  EXPECT_EQ(bits("conv1.weight", 0), 3170502732u);
  EXPECT_EQ(bits("conv1.weight", 9407), 3168896260u);
  EXPECT_EQ(bits("layer4.1.conv2.weight", 123456), 3167406740u);
  EXPECT_EQ(bits("layer4.1.bn2.running_mean", 100), 1058717639u);
  EXPECT_EQ(bits("layer3.0.bn1.running_var", 5), 1051647543u);
  EXPECT_EQ(bits("fc.weight", 77), 1023443011u);
}

TEST(RandomResNet, WeightsHaveTorchvisionsSpread) {
  const ResNet net = random_resnet(architecture_named("resnet18"), 3);
  double squares = 0;
  const auto weight = net.at("layer3.1.conv1.weight").floats();
  for (float value : weight) squares += static_cast<double>(value) * value;
  EXPECT_NEAR(squares / static_cast<double>(weight.size()), 2.0 / (256 * 9),
              0.02 * 2.0 / (256 * 9));  // Kaiming, fan out
  for (float value : net.at("fc.weight").floats()) ASSERT_LE(std::abs(value), 1 / std::sqrt(512.0));
  for (const auto& [name, tensor] : net.weights)
    for (float value : tensor.floats()) ASSERT_TRUE(std::isfinite(value)) << name;
}

TEST(RandomResNet, VariancesArePositiveThroughEveryPublishedDepth) {
  ResNetArchitecture deep = narrow(ResNetArchitecture::Block::kBottleneck, {3, 8, 36, 3});
  const ResNet net = random_resnet(deep, 5);
  for (const auto& [name, tensor] : net.weights) {
    if (!name.ends_with("running_var")) continue;
    for (float value : tensor.floats()) ASSERT_GT(value, 0.0f) << name;
  }
}

// Deep as ResNet-152 and narrow as a test can afford: activations stay far from FP16's limits, and two inputs can be
// told apart at the output.
TEST(RandomResNet, ActivationsStayInRangeAndInputsStayApart) {
  for (auto block : {ResNetArchitecture::Block::kBottleneck, ResNetArchitecture::Block::kBasic}) {
    const ResNet net = random_resnet(narrow(block, {3, 8, 36, 3}), 7);
    const Forward first = forward(net, Tensor::random_normal({3, 32, 32}, 1));
    const Forward second = forward(net, Tensor::random_normal({3, 32, 32}, 2));
    EXPECT_LT(first.largest, 200.0);
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < first.output.size(); ++i) {
      difference += std::pow(first.output[i] - second.output[i], 2);
      norm += std::pow(first.output[i], 2);
    }
    EXPECT_GT(std::sqrt(difference / norm), 0.05);
    EXPECT_GT(std::sqrt(norm / static_cast<double>(first.output.size())), 0.05);
  }
}

}  // namespace
}  // namespace ferry
