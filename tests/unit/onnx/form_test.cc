#include <gmock/gmock.h>

#include "ferry/error.h"
#include "models.h"

namespace ferry {
namespace {

using test::narrow;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Key;
using Block = ResNetArchitecture::Block;

OnnxModel exported(const GraphForm& form, Precision precision = Precision::kFp32) {
  ExportOptions options;
  options.form = form;
  options.precision = precision;
  options.height = 32;
  options.width = 48;
  return export_onnx(random_resnet(narrow(Block::kBottleneck), 1), options);
}

Error refusal(const GraphForm& form) {
  try {
    exported(form);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "was not refused";
  return Error(Stage::kUsage, "", "");
}

TEST(GraphForm, TheDefaultChangesNothingAndSaysNothing) {
  EXPECT_THAT(exported({}).summary().metadata, testing::Not(Contains(Key("ferry.form"))));
  EXPECT_TRUE(is_default(form_of(exported({}).summary().metadata, "m")));
}

TEST(GraphForm, PixelsComeInAsDecodersGiveThem) {
  GraphForm form;
  form.input = InputForm::kUint8Nhwc;
  for (const Precision precision : {Precision::kFp32, Precision::kFp16}) {
    const OnnxSummary summary = exported(form, precision).summary();
    ASSERT_EQ(summary.inputs.size(), 1u);
    EXPECT_EQ(summary.inputs[0].name, "input");
    EXPECT_EQ(summary.inputs[0].dtype, DType::kUInt8);
    EXPECT_THAT(summary.inputs[0].shape, ElementsAre(-1, 32, 48, 3));
    EXPECT_EQ(summary.precision, precision);
    EXPECT_EQ(summary.opset, 17);
  }
  form.input = InputForm::kUint8Nchw;
  EXPECT_THAT(exported(form).summary().inputs[0].shape, ElementsAre(-1, 3, 32, 48));
}

TEST(GraphForm, TheStandardDeviationGoesIntoTheFirstConvolution) {
  GraphForm form;
  form.input = InputForm::kUint8Nchw;
  form.mean = {0.5f, 0.25f, 0};
  form.std = {0.5f, 0.25f, 1};
  const OnnxModel model = exported(form);
  const std::vector<float> plain = test::weight_values(exported({}), "conv1.weight"),
                           folded = test::weight_values(model, "conv1.weight");
  ASSERT_EQ(folded.size(), plain.size());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const double factor = 1 / (255 * static_cast<double>(form.std[i / 49 % 3]));
    ASSERT_FLOAT_EQ(folded[i], static_cast<float>(plain[i] * factor)) << i;
  }
  EXPECT_THAT(test::weight_values(model, "input.mean"), ElementsAre(127.5f, 63.75f, 0));
  EXPECT_EQ(test::count_of(model, "Mul"), 0);
}

TEST(GraphForm, WhereNoConvolutionReadsThePictureAMulDoesIt) {
  auto impl = test::empty_model();
  onnx::GraphProto& graph = *impl->proto.mutable_graph();
  set_value(*graph.add_input(), "input", onnx::TensorProto::FLOAT, {-1, 2, 4, 4});
  test::add_node(graph, "Relu", "relu", {"input"}, {"output"});
  test::finish(graph, "output", {-1, 2, 4, 4});
  OnnxModel model(std::move(impl));
  GraphForm form;
  form.input = InputForm::kUint8Nchw;
  form.mean = form.std = {0.5f, 0.25f};
  fold_form(model, form);
  attach_form(model, form);
  model.check();
  EXPECT_EQ(test::count_of(model, "Mul"), 1);
  EXPECT_EQ(model.impl().proto.graph().node(0).op_type(), "Cast");
}

TEST(GraphForm, TopKReplacesTheScores) {
  GraphForm form;
  form.top_k = 5;
  for (const Precision precision : {Precision::kFp32, Precision::kFp16}) {
    const OnnxSummary summary = exported(form, precision).summary();
    ASSERT_EQ(summary.outputs.size(), 2u);
    EXPECT_EQ(summary.outputs[0].name, "probabilities");
    EXPECT_EQ(summary.outputs[0].dtype, DType::kFloat32);
    EXPECT_EQ(summary.outputs[1].name, "classes");
    EXPECT_EQ(summary.outputs[1].dtype, DType::kInt32);
    for (const Port& port : summary.outputs) EXPECT_THAT(port.shape, ElementsAre(-1, 5));
    EXPECT_EQ(form_of(summary.metadata, "m").classes, 10);
  }
}

TEST(GraphForm, ChannelsAreFilledUpWithZeros) {
  GraphForm form;
  form.pad_channels = 4;
  const OnnxModel model = exported(form);
  EXPECT_THAT(model.summary().inputs[0].shape, ElementsAre(-1, 3, 32, 48));
  const std::vector<float> plain = test::weight_values(exported({}), "conv1.weight"),
                           padded = test::weight_values(model, "conv1.weight");
  ASSERT_EQ(padded.size(), plain.size() / 3 * 4);
  EXPECT_EQ(padded[4 * 49], plain[3 * 49]);
  EXPECT_EQ(padded[3 * 49], 0);
}

TEST(GraphForm, TheClassifierBecomesAConvolution) {
  GraphForm form;
  form.conv_classifier = true;
  const OnnxModel model = exported(form);
  EXPECT_EQ(test::count_of(model, "Gemm"), 0);
  EXPECT_EQ(model.summary().outputs[0].name, "output");
  EXPECT_THAT(model.summary().outputs[0].shape, ElementsAre(-1, 10));
}

TEST(GraphForm, MetadataReadsBackAsTheForm) {
  GraphForm form;
  form.input = InputForm::kUint8Nhwc;
  form.top_k = 3;
  form.pad_channels = 4;
  form.conv_classifier = true;
  const GraphForm read = form_of(exported(form).summary().metadata, "m");
  form.classes = 10;
  form.mean = {0.485f, 0.456f, 0.406f};
  form.std = {0.229f, 0.224f, 0.225f};
  EXPECT_EQ(read, form);
  EXPECT_THAT(to_json(form), HasSubstr(R"("mean":[0.485,0.456,0.406])"));
  EXPECT_THROW(form_from_json("{", "m"), Error);
  EXPECT_THROW(form_from_json(R"({"input":"uint8","layout":"chwn"})", "m"), Error);
}

TEST(GraphForm, WhatCannotBeIsRefused) {
  GraphForm form;
  form.top_k = 11;
  EXPECT_THAT(refusal(form).cause(), HasSubstr("10 classes"));
  form = {};
  form.pad_channels = 3;
  EXPECT_THAT(refusal(form).cause(), HasSubstr("no padding"));
  form = {};
  form.input = InputForm::kUint8Nhwc;
  form.mean = {0.5f};
  form.std = {0.5f};
  EXPECT_THAT(refusal(form).cause(), HasSubstr("3 channels"));
  form.mean = form.std = {0.5f, 0.5f, 0};
  EXPECT_THAT(refusal(form).cause(), HasSubstr("not above zero"));
  ExportOptions options;
  options.precision = Precision::kFp16;
  options.fp16_io = true;
  options.form.top_k = 1;
  EXPECT_THROW(export_onnx(random_resnet(narrow(Block::kBasic), 1), options), Error);
}

}  // namespace
}  // namespace ferry
