// What single backends promise beyond the list of conformance_test.cc.
#include <gmock/gmock.h>
#include <onnx/onnx_pb.h>

#include "conformance/subject.h"

namespace ferry::conformance {
namespace {

using testing::HasSubstr;

/// Loads a backend, or skips the test with the reason.
#define FERRY_BACKEND_OR_SKIP(variable, name)                                          \
  const Subject& variable##_subject = subject(name, "fp32");                           \
  if (!variable##_subject.skipped.empty()) GTEST_SKIP() << variable##_subject.skipped; \
  const Backend& variable = *variable##_subject.backend

Error refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "was not refused";
  return Error(Stage::kUsage, "", "nothing");
}

TEST(OpenVino, TheProofCountsEveryWeightedLayer) {
  FERRY_BACKEND_OR_SKIP(backend, "openvino");
  // 1 stem, 5 blocks of 3, 4 shortcuts, 1 classifier.
  EXPECT_EQ(backend.open_onnx(onnx("fp32"), {}).info().precision_proof_json, R"({"by_type":{"Float":21},"layers":21})");
}

TEST(OpenVino, TakesFp16InputsAndOutputs) {
  FERRY_BACKEND_OR_SKIP(backend, "openvino");
  ExportOptions half;
  half.precision = Precision::kFp16;
  half.fp16_io = true;
  half.height = half.width = 64;
  const Engine engine = backend.open_onnx(export_onnx(network(), half).serialize(), {});
  EXPECT_EQ(engine.info().inputs[0].dtype, DType::kFloat16);
  EXPECT_EQ(engine.info().outputs[0].dtype, DType::kFloat16);
  const Tensor in = input(2);
  const Tensor output = engine.new_session().run(convert(in.view(), DType::kFloat16).view());
  const Tensor expected = backend.open_onnx(onnx("fp32"), {}).new_session().run(in.view());
  const Agreement agreement =
      compare_outputs(convert(output.view(), DType::kFloat32).view(), expected.view(), tolerance_for("fp16"));
  EXPECT_TRUE(agreement.ok) << agreement.failure;
}

TEST(OpenVino, AFixedBatchIsTheOnlyOne) {
  FERRY_BACKEND_OR_SKIP(backend, "openvino");
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(onnx("fp32")));
  for (auto* value : {model.mutable_graph()->mutable_input(0), model.mutable_graph()->mutable_output(0)})
    value->mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(0)->set_dim_value(2);
  const Engine engine = backend.open_onnx(model.SerializeAsString(), {});
  EXPECT_EQ(engine.info().max_batch, 2);
  Session session = engine.new_session();
  EXPECT_NO_THROW(session.run(input(2).view()));
  EXPECT_THAT(refusal([&] { session.run(input(1).view()); }).cause(), HasSubstr("takes 2 to 2"));
}

TEST(OpenVino, OptionsThatMakeNoSenseAreRefused) {
  FERRY_BACKEND_OR_SKIP(backend, "openvino");
  OpenOptions options;
  options.device = 1;
  EXPECT_THAT(refusal([&] { backend.open_onnx(onnx("fp32"), options); }).cause(), HasSubstr("only CPU 0"));
  options = {};
  options.threads = -1;
  EXPECT_THAT(refusal([&] { backend.open_onnx(onnx("fp32"), options); }).cause(), HasSubstr("negative"));
}

OpenOptions on_cpu() {
  OpenOptions options;
  options.prefer_cpu = true;
  options.height = options.width = 64;
  return options;
}

TEST(LibTorch, WhatACpuCannotDoIsRefusedWithAReason) {
  FERRY_BACKEND_OR_SKIP(backend, "libtorch");
  OpenOptions options = on_cpu();
  options.precision = "fp16";
  EXPECT_THAT(refusal([&] { backend.open_weights(network(), options); }).cause(), HasSubstr("fp16 needs a GPU"));
  options = on_cpu();
  options.capture = true;
  EXPECT_THAT(refusal([&] { backend.open_weights(network(), options); }).cause(), HasSubstr("CUDA graph"));
  options = on_cpu();
  options.precision = "int8";
  EXPECT_THAT(refusal([&] { backend.open_weights(network(), options); }).cause(), HasSubstr("int8"));
}

TEST(LibTorch, ThreadsDoNotChangeTheAnswer) {
  FERRY_BACKEND_OR_SKIP(backend, "libtorch");
  OpenOptions one = on_cpu();
  one.threads = 1;
  const Tensor many = backend.open_weights(network(), on_cpu()).new_session().run(input(3).view());
  const Tensor alone = backend.open_weights(network(), one).new_session().run(input(3).view());
  EXPECT_TRUE(compare_outputs(alone.view(), many.view(), tolerance_for("fp32")).ok);
}

/// The two referees share no code: neither the network's construction nor its arithmetic.
class Referees : public testing::TestWithParam<ResNetArchitecture> {};

TEST_P(Referees, Agree) {
  FERRY_BACKEND_OR_SKIP(torch, "libtorch");
  FERRY_BACKEND_OR_SKIP(openvino, "openvino");
  const ResNet net = random_resnet(GetParam(), 3);
  OpenOptions options = on_cpu();
  options.height = 96;
  options.width = 64;
  ExportOptions size;
  size.height = 96;
  size.width = 64;
  const Tensor in = Tensor::random_normal({2, 3, 96, 64}, 11);
  const Tensor a = torch.open_weights(net, options).new_session().run(in.view());
  for (const bool keep_batch_norm : {false, true}) {
    size.keep_batch_norm = keep_batch_norm;
    const Tensor b = openvino.open_onnx(export_onnx(net, size).serialize(), {}).new_session().run(in.view());
    const Agreement agreement = compare_outputs(b.view(), a.view(), {1e-5});
    EXPECT_TRUE(agreement.ok) << net.architecture.name() << ": " << agreement.failure;
  }
}

ResNetArchitecture narrow(ResNetArchitecture::Block block, int groups, int width) {
  ResNetArchitecture a;
  a.block = block;
  a.depths = {2, 1, 2, 1};
  a.planes = {8, 8, 16, 16};
  a.widths = {width, width, 2 * width, 2 * width};
  a.groups = groups;
  a.stem_channels = 8;
  a.num_classes = 10;
  return a;
}

INSTANTIATE_TEST_SUITE_P(Every, Referees,
                         testing::Values(narrow(ResNetArchitecture::Block::kBasic, 1, 8),
                                         narrow(ResNetArchitecture::Block::kBottleneck, 1, 8),
                                         narrow(ResNetArchitecture::Block::kBottleneck, 4, 16)));

}  // namespace
}  // namespace ferry::conformance
