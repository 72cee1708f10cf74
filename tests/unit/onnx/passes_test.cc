#include <gmock/gmock.h>

#include <cmath>

#include "ferry/error.h"
#include "models.h"

namespace ferry {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

OnnxModel conv_bn_relu() {
  auto impl = test::conv_model();
  onnx::GraphProto& graph = *impl->proto.mutable_graph();
  test::add_batch_norm(graph, "conv", "bn");
  test::add_node(graph, "Relu", "relu", {"bn"}, {"relu"});
  test::finish(graph, "relu", {-1, 3, 4, 4});
  return OnnxModel(std::move(impl));
}

TEST(FoldBatchNorm, MultipliesWeightsAndMakesABias) {
  OnnxModel model = conv_bn_relu();
  EXPECT_EQ(fold_batch_norm(model), 1);
  model.check();
  // factors: 1/2, 2/1, -0.5/0.5; shift - mean * factor
  EXPECT_THAT(test::weight_values(model, "conv.weight"), ElementsAre(0.5, 1, 6, 8, -5, -6));
  EXPECT_THAT(test::weight_values(model, "conv.bias"), ElementsAre(-0.25, 1, 1));
  EXPECT_EQ(test::count_of(model, "BatchNormalization"), 0);
  EXPECT_EQ(model.impl().proto.graph().initializer_size(), 2) << "the batch norm's weights should be gone";
  EXPECT_EQ(fold_batch_norm(model), 0);
}

TEST(FoldBatchNorm, KeepsTheNameOfTheModelsOutput) {
  auto impl = test::conv_model();
  test::add_batch_norm(*impl->proto.mutable_graph(), "conv", "bn");
  test::finish(*impl->proto.mutable_graph(), "bn", {-1, 3, 4, 4});
  OnnxModel model(std::move(impl));
  EXPECT_EQ(fold_batch_norm(model), 1);
  model.check();
  EXPECT_EQ(model.summary().outputs[0].name, "bn");
}

TEST(FoldBatchNorm, AddsToABiasThatIsThere) {
  OnnxModel model = conv_bn_relu();
  onnx::GraphProto& graph = *model.impl().proto.mutable_graph();
  test::add_floats(graph, "b", {3}, {1, 1, 1});
  graph.mutable_node(0)->add_input("b");
  EXPECT_EQ(fold_batch_norm(model), 1);
  model.check();
  EXPECT_THAT(test::weight_values(model, "b"), ElementsAre(0.25, 3, 0));
}

TEST(FoldBatchNorm, CopiesWeightsThatAnotherNodeUses) {
  OnnxModel model = conv_bn_relu();
  onnx::GraphProto& graph = *model.impl().proto.mutable_graph();
  test::add_node(graph, "Conv", "other", {"input", "conv.weight"}, {"other"});
  test::finish(graph, "other", {-1, 3, 4, 4});
  EXPECT_EQ(fold_batch_norm(model), 1);
  model.check();
  EXPECT_THAT(test::weight_values(model, "conv.weight"), ElementsAre(1, 2, 3, 4, 5, 6)) << "used by 'other'";
  EXPECT_THAT(test::weight_values(model, graph.node(0).input(1)), ElementsAre(0.5, 1, 6, 8, -5, -6));
}

TEST(FoldBatchNorm, LeavesAloneWhatOthersSee) {
  OnnxModel model = conv_bn_relu();
  onnx::GraphProto& graph = *model.impl().proto.mutable_graph();
  test::add_node(graph, "Add", "skip", {"conv", "relu"}, {"skip"});
  test::finish(graph, "skip", {-1, 3, 4, 4});
  EXPECT_EQ(fold_batch_norm(model), 0);
  model.check();
}

TEST(FoldBatchNorm, NamesTheBatchNormWithImpossibleStatistics) {
  OnnxModel model = conv_bn_relu();
  for (auto& tensor : *model.impl().proto.mutable_graph()->mutable_initializer())
    if (tensor.name() == "bn.running_var") floats_of(tensor)[1] = -1;
  try {
    fold_batch_norm(model);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.subject(), "bn (BatchNormalization)");
    EXPECT_THAT(e.cause(), HasSubstr("channel 1"));
  }
}

TEST(Fp16, CastsOnlyAtThePorts) {
  OnnxModel model = conv_bn_relu();
  fold_batch_norm(model);
  EXPECT_EQ(convert_to_fp16(model, true), 2);
  model.check();
  EXPECT_EQ(test::count_of(model, "Cast"), 2);
  EXPECT_EQ(model.summary().inputs[0].name, "input");
  EXPECT_EQ(model.summary().outputs[0].name, "relu");
  EXPECT_THAT(test::weight_values(model, "conv.weight"), ElementsAre(0.5, 1, 6, 8, -5, -6));
}

TEST(Fp16, SmallWeightsBecomeSubnormalOrZeroAsRoundingSays) {
  OnnxModel model = conv_bn_relu();
  floats_of(*model.impl().proto.mutable_graph()->mutable_initializer(0))[0] = 0x1p-24f;  // the smallest
  floats_of(*model.impl().proto.mutable_graph()->mutable_initializer(0))[1] = 0x1p-26f;  // nearer to zero
  floats_of(*model.impl().proto.mutable_graph()->mutable_initializer(0))[2] = 65519.0f;  // rounds to the largest
  convert_to_fp16(model, false);
  EXPECT_THAT(test::weight_values(model, "conv.weight"), ElementsAre(0x1p-24f, 0, 65504, 4, 5, 6));
}

TEST(Fp16, OperatorsThatNeedFloat32GetCastsAroundThem) {
  OnnxModel model = conv_bn_relu();
  onnx::GraphProto& graph = *model.impl().proto.mutable_graph();
  test::add_floats(graph, "tiny", {1}, {1e-12f});
  test::add_node(graph, "Add", "eps", {"relu", "tiny"}, {"eps"});
  set_attribute(test::add_node(graph, "ReduceL2", "norm", {"eps"}, {"norm"}), "axes", {2, 3});
  graph.clear_output();
  test::finish(graph, "norm", {-1, 3, 1, 1});
  convert_to_fp16(model, false);
  model.check();
  EXPECT_THAT(test::weight_values(model, "tiny"), ElementsAre(1e-12f)) << "the constant must not vanish";
  EXPECT_EQ(test::count_of(model, "Cast"), 4);
  EXPECT_EQ(model.summary().outputs[0].dtype, DType::kFloat16);
}

TEST(Fp16, AWeightNeededInBothTypesIsThereTwice) {
  OnnxModel model = conv_bn_relu();
  onnx::GraphProto& graph = *model.impl().proto.mutable_graph();
  test::add_floats(graph, "two", {1}, {2});
  test::add_node(graph, "Mul", "mul", {"relu", "two"}, {"mul"});
  test::add_node(graph, "Pow", "pow", {"mul", "two"}, {"pow"});
  graph.clear_output();
  test::finish(graph, "pow", {-1, 3, 4, 4});
  convert_to_fp16(model, true);
  model.check();
  EXPECT_THAT(test::weight_values(model, "two"), ElementsAre(2));
  EXPECT_THAT(test::weight_values(model, "two.fp16"), ElementsAre(2));
}

TEST(Fp16, RefusesAQuantisedModel) {
  OnnxModel model = conv_bn_relu();
  onnx::GraphProto& graph = *model.impl().proto.mutable_graph();
  test::add_floats(graph, "scale", {}, {1});
  test::add_node(graph, "QuantizeLinear", "q", {"relu", "scale"}, {"q"});
  test::add_node(graph, "DequantizeLinear", "dq", {"q", "scale"}, {"dq"});
  test::finish(graph, "dq", {-1, 3, 4, 4});
  // A Q without zero point is uint8, which is fine here: the model must be refused before it matters.
  EXPECT_THROW(convert_to_fp16(model, true), Error);
}

}  // namespace
}  // namespace ferry
