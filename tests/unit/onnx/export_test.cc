#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "ferry/error.h"
#include "models.h"

namespace ferry {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using Block = ResNetArchitecture::Block;
using test::narrow;

std::vector<std::string> node_names(const OnnxModel& model) {
  std::vector<std::string> names;
  for (const auto& node : model.impl().proto.graph().node()) names.push_back(node.name());
  return names;
}

std::vector<std::string> weight_names(const OnnxModel& model) {
  std::vector<std::string> names;
  for (const auto& tensor : model.impl().proto.graph().initializer()) names.push_back(tensor.name());
  return names;
}

TEST(ExportOnnx, HasTheAgreedPortsAndVersions) {
  const OnnxSummary summary = export_onnx(random_resnet(narrow(Block::kBottleneck), 1)).summary();
  ASSERT_EQ(summary.inputs.size(), 1u);
  EXPECT_EQ(summary.inputs[0].name, "input");
  EXPECT_THAT(summary.inputs[0].shape, ElementsAre(-1, 3, 224, 224));
  EXPECT_EQ(summary.inputs[0].dtype, DType::kFloat32);
  ASSERT_EQ(summary.outputs.size(), 1u);
  EXPECT_EQ(summary.outputs[0].name, "output");
  EXPECT_THAT(summary.outputs[0].shape, ElementsAre(-1, 10));
  EXPECT_EQ(summary.opset, 17);
  EXPECT_EQ(summary.ir_version, 8);
  EXPECT_THAT(summary.producer, HasSubstr("ferry "));
  EXPECT_EQ(summary.precision, Precision::kFp32);
}

TEST(ExportOnnx, NodesAreCalledLikeTheModulesTheyComeFrom) {
  const OnnxModel model = export_onnx(random_resnet(narrow(Block::kBottleneck), 1));
  for (const char* name : {"conv1", "maxpool", "layer1.0.conv1", "layer1.0.relu1", "layer1.0.downsample.0",
                           "layer2.1.conv3", "layer2.1.add", "layer2.1.relu3", "avgpool", "flatten", "fc"})
    EXPECT_THAT(node_names(model), Contains(name));
  for (const char* name :
       {"conv1.weight", "conv1.bias", "layer2.1.conv2.weight", "layer1.0.downsample.0.bias", "fc.weight", "fc.bias"})
    EXPECT_THAT(weight_names(model), Contains(name));
}

TEST(ExportOnnx, KeepsBatchNormOnRequest) {
  const ResNet network = random_resnet(narrow(Block::kBasic), 1);
  ExportOptions options;
  options.keep_batch_norm = true;
  const OnnxModel kept = export_onnx(network, options), folded = export_onnx(network);
  EXPECT_EQ(test::count_of(kept, "BatchNormalization"), test::count_of(kept, "Conv"));
  EXPECT_EQ(test::count_of(folded, "BatchNormalization"), 0);
  EXPECT_EQ(test::count_of(folded, "Conv"), test::count_of(kept, "Conv"));
  EXPECT_THAT(weight_names(kept), Contains("layer1.0.bn1.running_var"));
  EXPECT_EQ(kept.summary().parameters - 0, [&] {
    std::int64_t count = 0;
    for (const auto& tensor : expected_tensors(network.architecture)) count += element_count(tensor.shape);
    return count;
  }());
}

TEST(ExportOnnx, EveryTorchvisionResNetPassesTheCheckerAndShapeInference) {
  for (const std::string& name : architecture_names()) {
    ResNetArchitecture network = architecture_named(name);
    network.depths = {2, 1, 1, 1};  // each kind of block once, and narrow: more of it adds nothing but time
    for (auto* channels : {&network.planes, &network.widths})
      for (int& count : *channels) count /= 2;
    const OnnxModel model = export_onnx(random_resnet(network, 3));
    EXPECT_NO_THROW(model.check()) << name;
    EXPECT_GT(test::count_of(model, "Conv"), 8) << name;
  }
}

TEST(ExportOnnx, ConsumingTheNetworkGivesTheSameBytes) {
  ResNet network = random_resnet(narrow(Block::kBottleneck, 2), 5);
  const std::string bytes = export_onnx(network).serialize();
  EXPECT_EQ(export_onnx(std::move(network)).serialize(), bytes);
}

TEST(ExportOnnx, IsTheSameFileWhereverTheCheckpointLies) {
  ResNet here = random_resnet(narrow(Block::kBottleneck), 7), there = random_resnet(narrow(Block::kBottleneck), 7);
  here.origin = "/somewhere/weights.pth";
  there.origin = "elsewhere/weights.pth";
  here.random = there.random = false;
  const OnnxModel model = export_onnx(here);
  EXPECT_TRUE(model.serialize() == export_onnx(there).serialize());
  EXPECT_THAT(model.summary().metadata, Contains(Pair("ferry.origin", "weights.pth")));
}

TEST(ExportOnnx, SaysWhereItComesFrom) {
  ExportOptions options;
  options.metadata = {{"preprocessing", "imagenet"}};
  const ResNet network = random_resnet(narrow(Block::kBottleneck), 7);
  const OnnxSummary summary = export_onnx(network, options).summary();
  EXPECT_THAT(summary.metadata, Contains(Pair("ferry.random_weights", "true")));
  EXPECT_THAT(summary.metadata, Contains(Pair("ferry.origin", network.origin)));
  EXPECT_THAT(summary.metadata, Contains(Pair("preprocessing", "imagenet")));
  for (const auto& [key, value] : summary.metadata)
    if (key == "ferry.architecture") {
      EXPECT_EQ(nlohmann::json::parse(value).at("block"), "bottleneck");
    }
}

TEST(ExportOnnx, Fp16HasHalfWeightsAndFloatPorts) {
  ExportOptions options;
  options.precision = Precision::kFp16;
  const OnnxModel model = export_onnx(random_resnet(narrow(Block::kBasic), 2), options);
  const OnnxSummary summary = model.summary();
  EXPECT_EQ(summary.precision, Precision::kFp16);
  EXPECT_EQ(summary.inputs[0].dtype, DType::kFloat32);
  EXPECT_EQ(summary.outputs[0].dtype, DType::kFloat32);
  EXPECT_EQ(test::count_of(model, "Cast"), 2);
  for (const auto& tensor : model.impl().proto.graph().initializer())
    EXPECT_EQ(tensor.data_type(), onnx::TensorProto::FLOAT16) << tensor.name();
}

TEST(ExportOnnx, Fp16PortsOnRequest) {
  ExportOptions options;
  options.precision = Precision::kFp16;
  options.fp16_io = true;
  const OnnxModel model = export_onnx(random_resnet(narrow(Block::kBasic), 2), options);
  EXPECT_EQ(model.summary().inputs[0].dtype, DType::kFloat16);
  EXPECT_EQ(model.summary().outputs[0].dtype, DType::kFloat16);
  EXPECT_EQ(test::count_of(model, "Cast"), 0);
}

TEST(ExportOnnx, RefusesOptionsThatContradict) {
  const ResNet network = random_resnet(narrow(Block::kBasic), 2);
  ExportOptions options;
  options.fp16_io = true;
  EXPECT_THROW(export_onnx(network, options), Error);
  options = {};
  options.precision = Precision::kInt8;
  EXPECT_THROW(export_onnx(network, options), Error);
  options = {};
  options.height = 0;
  EXPECT_THROW(export_onnx(network, options), Error);
}

TEST(ExportOnnx, NamesTheWeightThatIsNoNumber) {
  ResNet network = random_resnet(narrow(Block::kBasic), 2);
  network.weights.find("layer1.0.conv2.weight")->second.floats()[3] = std::nanf("");
  try {
    export_onnx(network);
    FAIL() << "a NaN went through";
  } catch (const Error& e) {
    EXPECT_EQ(e.subject(), "layer1.0.conv2.weight");
  }
}

TEST(ExportOnnx, NamesTheWeightBeyondFp16) {
  ResNet network = random_resnet(narrow(Block::kBasic), 2);
  network.weights.find("fc.weight")->second.floats()[3] = 70000.0f;
  ExportOptions options;
  options.precision = Precision::kFp16;
  try {
    export_onnx(network, options);
    FAIL() << "an overflow went through";
  } catch (const Error& e) {
    EXPECT_EQ(e.subject(), "fc.weight");
    EXPECT_THAT(e.cause(), HasSubstr("70000"));
  }
}

}  // namespace
}  // namespace ferry
