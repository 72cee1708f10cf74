#include "ferry/resnet.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

#include "../checkpoint/fixtures.h"

namespace ferry {
namespace {

using testing::HasSubstr;

// Parameters as torchvision's documentation gives them, and multiply-adds ("GFLOPS" there) at 224 x 224.
struct Published {
  const char* name;
  std::int64_t parameters;
  double giga_multiply_adds;
};
constexpr Published kPublished[] = {{"resnet18", 11689512, 1.814},          {"resnet34", 21797672, 3.664},
                                    {"resnet50", 25557032, 4.089},          {"resnet101", 44549160, 7.801},
                                    {"resnet152", 60192808, 11.514},        {"resnext50_32x4d", 25028904, 4.230},
                                    {"resnext101_32x8d", 88791336, 16.414}, {"resnext101_64x4d", 83455272, 15.460},
                                    {"wide_resnet50_2", 68883240, 11.398},  {"wide_resnet101_2", 126886696, 22.753}};

TEST(Architecture, MatchesWhatTorchvisionPublishes) {
  ASSERT_EQ(architecture_names().size(), std::size(kPublished));
  for (std::size_t i = 0; i < std::size(kPublished); ++i) {
    const Published& known = kPublished[i];
    EXPECT_EQ(architecture_names()[i], known.name);
    const ResNetArchitecture net = architecture_named(known.name);
    EXPECT_EQ(net.name(), known.name);
    EXPECT_EQ(net.parameters(), known.parameters) << known.name;
    EXPECT_NEAR(net.flops() / 2e9, known.giga_multiply_adds, 0.0006) << known.name;
  }
}

TEST(Architecture, CountsTheTensorsOfResNet101) {
  const std::vector<ExpectedTensor> tensors = expected_tensors(architecture_named("resnet101"));
  EXPECT_EQ(tensors.size(), 626u - 104u);  // without num_batches_tracked
  EXPECT_EQ(tensors.front().name, "conv1.weight");
  EXPECT_EQ(tensors.back().name, "fc.bias");
}

TEST(Architecture, NamesTheUnusual) {
  ResNetArchitecture net;
  net.depths = {1, 2, 1, 1};
  EXPECT_EQ(net.name(), "resnet-bottleneck-1x2x1x1");
  net.planes = {8, 16, 32, 64};
  net.widths = {16, 32, 64, 128};
  net.groups = 2;
  EXPECT_EQ(net.name(), "resnet-bottleneck-1x2x1x1-planes8-widths16-groups2-stem64");
  EXPECT_EQ(error_of([] { architecture_named("resnet99"); }).stage(), Stage::kUsage);
  EXPECT_THAT(error_of([] { architecture_named("resnet99"); }).hint(), HasSubstr("wide_resnet101_2"));
}

TEST(Load, ReadsTheNarrowNetwork) {
  for (const char* name : {"narrow.pth", "narrow_legacy.pth", "training.pth", "narrow.safetensors"}) {
    const ResNet network = load_resnet(Checkpoint::open(fixture(name)));
    EXPECT_EQ(network.architecture.name(), "resnet-bottleneck-1x1x1x1-planes2-groups2");
    EXPECT_EQ(network.architecture.num_classes, 5);
    EXPECT_FALSE(network.random);
    EXPECT_THAT(network.origin, HasSubstr(name));
    EXPECT_EQ(network.weights.size(), expected_tensors(network.architecture).size());
    for (const auto& [tensor, values] : network.weights)
      EXPECT_EQ(values.floats()[0], fixture_value(tensor, 0)) << tensor;
    EXPECT_THAT(error_of([&] { network.at("nothing"); }).cause(), HasSubstr("'nothing'"));
  }
}

TEST(Load, NamesBothArchitecturesWhenTheyDiffer) {
  const Checkpoint checkpoint = Checkpoint::open(fixture("narrow.pth"));
  const ResNetArchitecture wanted = architecture_named("resnet50");
  const Error error = error_of([&] { load_resnet(checkpoint, &wanted); });
  EXPECT_EQ(error.stage(), Stage::kModel);
  EXPECT_THAT(error.cause(), HasSubstr("resnet-bottleneck-1x1x1x1-planes2-groups2"));
  EXPECT_THAT(error.cause(), HasSubstr("not a resnet50"));
  ResNetArchitecture same = recognise(checkpoint);
  same.num_classes = 1000;  // the class count is not part of what is expected
  EXPECT_NO_THROW(load_resnet(checkpoint, &same));
}

TEST(Load, WidensEveryFloat16OfTheTrainedNetworkExactly) {
  const std::string path = shared_file("models/photocells-resnet101.pth");
  if (path.empty()) GTEST_SKIP() << "models/photocells-resnet101.pth is not in $FERRY_SHARED";
  const Checkpoint checkpoint = Checkpoint::open(path);
  const ResNet network = load_resnet(checkpoint);
  EXPECT_EQ(network.architecture.name(), "resnet101");
  const Tensor half = checkpoint.load(*checkpoint.find("layer3.22.conv2.weight"));
  const std::span<const float> wide = network.at("layer3.22.conv2.weight").floats();
  ASSERT_EQ(half.size_bytes(), wide.size() * 2);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, half.data() + 2 * i, 2);
    ASSERT_EQ(wide[i], half_to_float(bits));
  }
}

}  // namespace
}  // namespace ferry
