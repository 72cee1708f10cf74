// Files that a real PyTorch wrote.
#include "fixtures.h"

#include <gmock/gmock.h>

namespace ferry {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<double> read(const Checkpoint& checkpoint, std::string_view name) {
  const CheckpointTensor* tensor = checkpoint.find(name);
  if (tensor == nullptr) return {};
  const Tensor values = checkpoint.load(*tensor, DType::kFloat32);
  return {values.floats().begin(), values.floats().end()};
}

class Narrow : public testing::TestWithParam<const char*> {};

TEST_P(Narrow, HoldsWhatWasSaved) {
  const Checkpoint checkpoint = Checkpoint::open(fixture(GetParam()));
  ASSERT_EQ(checkpoint.tensors().size(), 104u);
  for (const CheckpointTensor& tensor : checkpoint.tensors()) {
    if (tensor.name.ends_with("num_batches_tracked")) {
      EXPECT_EQ(tensor.dtype, DType::kInt64);
      EXPECT_TRUE(tensor.shape.empty());
      continue;
    }
    const std::vector<double> values = read(checkpoint, tensor.name);
    ASSERT_EQ(values.size(), static_cast<std::size_t>(element_count(tensor.shape)));
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(values[i], fixture_value(tensor.name, static_cast<std::int64_t>(i))) << tensor.name << " " << i;
  }
  EXPECT_EQ(checkpoint.find("layer2.0.conv2.weight")->shape, (Shape{4, 2, 3, 3}));
  EXPECT_EQ(checkpoint.find("no such"), nullptr);
}

INSTANTIATE_TEST_SUITE_P(Files, Narrow,
                         testing::Values("narrow.pth", "narrow_legacy.pth", "narrow_deflated.pth", "narrow.safetensors",
                                         "training.pth", "training_legacy.pth"));

TEST(Formats, AreRecognisedFromTheContent) {
  EXPECT_EQ(Checkpoint::open(fixture("narrow.pth")).format(), CheckpointFormat::kTorchZip);
  EXPECT_EQ(Checkpoint::open(fixture("narrow_legacy.pth")).format(), CheckpointFormat::kTorchLegacy);
  EXPECT_EQ(Checkpoint::open(fixture("narrow.safetensors")).format(), CheckpointFormat::kSafetensors);
}

class Odd : public testing::TestWithParam<const char*> {};

TEST_P(Odd, HoldsEveryTypeAndEveryView) {
  const Checkpoint checkpoint = Checkpoint::open(fixture(GetParam()));
  for (const char* type : {"float32", "float16", "bfloat16", "float64"}) {
    EXPECT_STREQ(name_of(checkpoint.find(type)->dtype), type);
    const std::vector<double> values = read(checkpoint, type);
    for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(values.at(i), fixture_value(type, static_cast<std::int64_t>(i)));
  }
  for (const char* type : {"int64", "int32", "int8", "uint8", "bool"}) {
    const CheckpointTensor& tensor = *checkpoint.find(type);
    EXPECT_STREQ(name_of(tensor.dtype), type);
    const Tensor values = checkpoint.load(tensor);
    const std::size_t size = size_of(tensor.dtype);
    EXPECT_EQ(values.data()[0], std::byte{1});
    EXPECT_EQ(values.data()[size], std::byte{0});
    EXPECT_EQ(values.data()[2 * size], tensor.dtype == DType::kBool ? std::byte{1} : std::byte{3});
  }
  const auto base = [](std::int64_t row, std::int64_t column) { return fixture_value("base", row * 6 + column); };
  EXPECT_EQ(checkpoint.find("transposed")->shape, (Shape{6, 4}));
  EXPECT_FALSE(checkpoint.find("transposed")->dense());
  EXPECT_EQ(read(checkpoint, "transposed").at(5 * 4 + 2), base(2, 5));
  EXPECT_THAT(read(checkpoint, "slice"),
              ElementsAre(base(1, 2), base(1, 3), base(1, 4), base(2, 2), base(2, 3), base(2, 4)));
  EXPECT_EQ(read(checkpoint, "every_second").at(4), base(1, 2));
  EXPECT_THAT(read(checkpoint, "expanded"), testing::AllOf(testing::SizeIs(12), testing::Each(base(0, 0))));
  EXPECT_THAT(read(checkpoint, "scalar"), ElementsAre(base(2, 3)));
  EXPECT_EQ(checkpoint.find("empty")->shape, (Shape{0, 3}));
  EXPECT_THAT(read(checkpoint, "empty"), testing::IsEmpty());
  const std::vector<double> nchw = read(checkpoint, "channels_last");
  for (std::size_t i = 0; i < nchw.size(); ++i)
    EXPECT_EQ(nchw[i], fixture_value("channels_last", static_cast<std::int64_t>(i)));
  EXPECT_EQ(read(checkpoint, "parameter").at(2), fixture_value("parameter", 2));
}

TEST_P(Odd, SharesMemoryBetweenViews) {
  const Checkpoint checkpoint = Checkpoint::open(fixture(GetParam()));
  EXPECT_EQ(checkpoint.find("base")->data, checkpoint.find("transposed")->data);
  EXPECT_EQ(checkpoint.find("base")->data + (6 + 2) * 4, checkpoint.find("slice")->data);
}

INSTANTIATE_TEST_SUITE_P(Files, Odd,
                         testing::Values("odd.pth", "odd_legacy.pth", "odd_protocol3.pth", "odd_protocol4.pth",
                                         "odd_protocol5.pth"));

TEST(Training, SaysWhatItTookAndWhatItLeftOut) {
  for (const char* name : {"training.pth", "training_legacy.pth"})
    EXPECT_THAT(Checkpoint::open(fixture(name)).notes(),
                ElementsAre("took the entry 'state_dict'",
                            "left out 'epoch', 'arch', 'best_acc1', 'device', 'optimizer', 'args'",
                            "removed the prefix 'module.'"));
}

TEST(WholeModels, AreRefusedByTheNameTheyAskFor) {
  for (const char* name : {"whole_model.pth", "whole_model_legacy.pth"}) {
    const Error error = error_of([&] { Checkpoint::open(fixture(name)); });
    EXPECT_EQ(error.stage(), Stage::kCheckpoint);
    EXPECT_THAT(error.cause(), HasSubstr("'torch.nn.modules.linear.Linear'"));
    EXPECT_THAT(error.hint(), HasSubstr("state_dict"));
  }
  EXPECT_THAT(error_of([] { Checkpoint::open(fixture("torchscript.pt")); }).cause(), HasSubstr("TorchScript"));
}

TEST(Photocells, OpensAndHolds626Tensors) {
  const std::string path = shared_file("models/photocells-resnet101.pth");
  if (path.empty()) GTEST_SKIP() << "models/photocells-resnet101.pth is not in $FERRY_SHARED";
  const Checkpoint checkpoint = Checkpoint::open(path);
  EXPECT_EQ(checkpoint.tensors().size(), 626u);
  EXPECT_EQ(checkpoint.find("conv1.weight")->dtype, DType::kFloat16);
  EXPECT_THAT(checkpoint.notes(), testing::IsEmpty());
}

}  // namespace
}  // namespace ferry
