// Recognising architectures, and naming what is wrong with those that are none.
#include <gmock/gmock.h>

#include <algorithm>

#include "../checkpoint/archives.h"
#include "../checkpoint/fixtures.h"
#include "ferry/resnet.h"

namespace ferry {
namespace {

using testing::HasSubstr;

std::vector<NamedShape> tensors_of(const ResNetArchitecture& net) {
  std::vector<NamedShape> tensors;
  for (const ExpectedTensor& tensor : expected_tensors(net)) tensors.push_back({tensor.name, tensor.shape});
  return tensors;
}

Checkpoint checkpoint_of(const std::vector<NamedShape>& tensors) { return Checkpoint::from_bytes(zeros(tensors), "x"); }

ResNetArchitecture narrow() {
  ResNetArchitecture net;
  net.depths = {2, 1, 1, 1};
  net.planes = {4, 8, 16, 32};
  net.widths = {8, 16, 32, 64};
  net.groups = 2;
  net.stem_channels = 4;
  net.num_classes = 3;
  net.input_channels = 1;
  return net;
}

std::string cause_of(const std::vector<NamedShape>& tensors) {
  const Error error = error_of([&] { recognise(checkpoint_of(tensors)); });
  EXPECT_EQ(error.stage(), Stage::kModel);
  EXPECT_EQ(error.subject(), "x");
  return error.cause();
}

// Every tensor is one float16, broadcast: the shapes are real, the file is small.
TEST(Recognise, EveryPublishedArchitecture) {
  for (const std::string& name : architecture_names()) {
    Pickle pickle;
    pickle.op("}");
    for (const ExpectedTensor& tensor : expected_tensors(architecture_named(name))) {
      const std::vector<std::int64_t> strides(tensor.shape.size(), 0);
      pickle.text(tensor.name).tensor("HalfStorage", "0", 1, 0, tensor.shape, strides).op("s");
    }
    const Checkpoint checkpoint = Checkpoint::from_bytes(torch_zip(pickle.done(), {{"0", "xx"}}), "x");
    EXPECT_EQ(recognise(checkpoint), architecture_named(name));
  }
}

TEST(Recognise, IntegerWeightsAreRefused) {
  Pickle integers;
  integers.op("}");
  for (const ExpectedTensor& tensor : expected_tensors(architecture_named("resnet18")))
    integers.text(tensor.name)
        .tensor("CharStorage", "0", 1, 0, tensor.shape, std::vector<std::int64_t>(tensor.shape.size(), 0))
        .op("s");
  const Checkpoint checkpoint = Checkpoint::from_bytes(torch_zip(integers.done(), {{"0", "x"}}), "x");
  EXPECT_THAT(error_of([&] { recognise(checkpoint); }).cause(), HasSubstr("'conv1.weight' is int8"));
}

TEST(Recognise, NarrowNetworksOfAnyShape) {
  EXPECT_EQ(recognise(checkpoint_of(tensors_of(narrow()))), narrow());
  ResNetArchitecture basic;
  basic.block = ResNetArchitecture::Block::kBasic;
  basic.depths = {1, 1, 2, 1};
  basic.planes = basic.widths = {4, 6, 7, 9};
  basic.stem_channels = 4;  // so that layer1.0 has no downsample
  basic.num_classes = 2;
  EXPECT_EQ(recognise(checkpoint_of(tensors_of(basic))), basic);
}

TEST(Recognise, EveryMissingTensorIsNamed) {
  const std::vector<NamedShape> all = tensors_of(narrow());
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::vector<NamedShape> tensors = all;
    tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i));
    const std::string cause = cause_of(tensors);
    // Without layer1.1.conv1 the block's other tensors are too many: the first of them is named.
    const std::string at = all[i].name == "layer1.1.conv1.weight" ? "layer1.1.bn1" : all[i].name;
    if (all[i].name == "layer1.0.conv3.weight") continue;  // looks like a basic block: covered below
    EXPECT_THAT(cause, HasSubstr(at)) << cause;
  }
}

TEST(Recognise, EveryMisshapenTensorIsNamedWithWhatWasExpected) {
  std::vector<NamedShape> tensors = tensors_of(narrow());
  const auto find = [&](const std::string& name) {
    return std::find_if(tensors.begin(), tensors.end(), [&](const NamedShape& tensor) { return tensor.name == name; });
  };
  find("layer3.0.conv2.weight")->shape = {32, 16, 5, 5};
  EXPECT_THAT(cause_of(tensors), testing::AllOf(HasSubstr("'layer3.0.conv2.weight' is 32x16x5x5; 32x16x3x3"),
                                                HasSubstr("resnet-bottleneck-2x1x1x1")));
  tensors = tensors_of(narrow());
  find("conv1.weight")->shape = {4, 1, 3, 3};
  EXPECT_THAT(cause_of(tensors), HasSubstr("'conv1.weight' is 4x1x3x3; 4x1x7x7"));
  tensors = tensors_of(narrow());
  find("conv1.weight")->shape = {4, 1, 49};
  EXPECT_THAT(cause_of(tensors), HasSubstr("4 dimensions were expected"));
  tensors = tensors_of(narrow());
  find("layer2.0.conv3.weight")->shape = {33, 16, 1, 1};
  EXPECT_THAT(cause_of(tensors), HasSubstr("a multiple of 4"));
}

TEST(Recognise, AnExtraTensorIsNamed) {
  std::vector<NamedShape> tensors = tensors_of(narrow());
  tensors.push_back({"layer1.0.se.fc1.weight", {2, 16, 1, 1}});
  EXPECT_THAT(cause_of(tensors), HasSubstr("'layer1.0.se.fc1.weight' (2x16x1x1) is not part of a resnet-bottleneck"));
  tensors.back() = {"bn1.num_batches_tracked", {}};
  EXPECT_NO_THROW(recognise(checkpoint_of(tensors)));
}

TEST(Recognise, OtherNetworksAreRefusedWithTheWayOut) {
  const Checkpoint vit = checkpoint_of({{"class_token", {1, 1, 8}}, {"conv_proj.weight", {8, 3, 16, 16}}});
  const Error error = error_of([&] { recognise(vit); });
  EXPECT_THAT(error.cause(), testing::AllOf(HasSubstr("not a ResNet"), HasSubstr("'class_token'")));
  EXPECT_THAT(error.hint(), HasSubstr("torch.onnx.export"));
}

TEST(Recognise, AThreeStageNetworkMissesItsFourth) {
  std::vector<NamedShape> tensors = tensors_of(narrow());
  std::erase_if(tensors, [](const NamedShape& tensor) { return tensor.name.starts_with("layer4."); });
  EXPECT_THAT(cause_of(tensors), HasSubstr("'layer4.0.conv1.weight' is missing"));
}

}  // namespace
}  // namespace ferry
