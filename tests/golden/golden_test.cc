// Our graph against torchvision's own forward pass, stage by stage, so that a mismatch names the stage.
#include <gmock/gmock.h>

#include "golden_file.h"
#include "onnx/graph_writer.h"
#include "onnx/model_impl.h"
#include "runners.h"

namespace ferry {
namespace {

struct Variant {
  const char* name;
  ExportOptions options;
  double tolerance;
};

std::vector<Variant> variants() {
  ExportOptions folded, kept, half, half_io;
  kept.keep_batch_norm = true;
  half.precision = half_io.precision = Precision::kFp16;
  half_io.fp16_io = true;
  return {{"folded", folded, 1e-5}, {"kept", kept, 1e-5}, {"fp16", half, 3e-3}, {"fp16_io", half_io, 3e-3}};
}

/// The value that a stage ends with.
std::string value_of(const ResNetArchitecture& network, const std::string& stage) {
  if (stage == "stem") return "maxpool";
  const std::size_t i = static_cast<std::size_t>(stage.back() - '1');
  const bool basic = network.block == ResNetArchitecture::Block::kBasic;
  return stage + "." + std::to_string(network.depths[i] - 1) + (basic ? ".relu2" : ".relu3");
}

/// Makes the model return what every stage makes, in the golden file's order.
void return_stages(OnnxModel& model, const test::GoldenFile& golden, Precision precision) {
  onnx::GraphProto& graph = *model.impl().proto.mutable_graph();
  const onnx::ValueInfoProto logits = graph.output(0);
  graph.clear_output();
  const int type = precision == Precision::kFp16 ? onnx::TensorProto::FLOAT16 : onnx::TensorProto::FLOAT;
  for (const auto& [stage, expected] : golden.outputs) {
    if (stage == "logits") {
      *graph.add_output() = logits;
    } else {
      Shape shape = expected.shape();
      shape[0] = -1;
      set_value(*graph.add_output(), value_of(golden.network.architecture, stage), type, shape);
    }
  }
}

void expect_agreement(const std::vector<Tensor>& outputs, const test::GoldenFile& golden, double tolerance) {
  ASSERT_EQ(outputs.size(), golden.outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i)
    ASSERT_LE(test::relative_error(outputs[i], golden.outputs[i].second), tolerance)
        << "the first stage that differs from torchvision is " << golden.outputs[i].first;
}

class Golden : public testing::TestWithParam<std::tuple<const char*, std::size_t>> {};

TEST_P(Golden, EveryStageAgreesWithTorchvision) {
  const auto& [name, index] = GetParam();
  const Variant variant = variants()[index];
  const test::GoldenFile golden =
      test::read_golden(FERRY_SOURCE_DIR "/tests/golden/data/" + std::string(name) + ".golden");
  ASSERT_EQ(golden.network.weights.size(), expected_tensors(golden.network.architecture).size());
  ExportOptions options = variant.options;
  options.height = options.width = 32;
  OnnxModel model = export_onnx(golden.network, options);
  return_stages(model, golden, options.precision);
  model.check();
  const auto openvino = options.fp16_io ? std::nullopt : test::run_openvino(model, golden.input);
  if (openvino) {
    SCOPED_TRACE("OpenVINO");
    expect_agreement(*openvino, golden, variant.tolerance);
  }
  if (const std::string missing = test::missing_onnxruntime(); missing.empty()) {
    SCOPED_TRACE("ONNX Runtime");
    expect_agreement(test::run_onnxruntime(model, golden.input), golden, variant.tolerance);
  } else if (!openvino) {
    GTEST_SKIP() << missing;
  }
}

INSTANTIATE_TEST_SUITE_P(, Golden,
                         testing::Combine(testing::Values("basic", "bottleneck", "grouped", "wide"),
                                          testing::Values(0u, 1u, 2u, 3u)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param)) + "_" + variants()[std::get<1>(test.param)].name;
                         });

TEST(GoldenFiles, AWrongWeightIsNoticedAndTheStageNamed) {
  if (const std::string missing = test::missing_onnxruntime(); !missing.empty()) GTEST_SKIP() << missing;
  test::GoldenFile golden = test::read_golden(FERRY_SOURCE_DIR "/tests/golden/data/basic.golden");
  golden.network.weights.find("layer3.0.conv2.weight")->second.floats()[0] += 0.5f;
  ExportOptions options;
  options.height = options.width = 32;
  OnnxModel model = export_onnx(golden.network, options);
  return_stages(model, golden, Precision::kFp32);
  const std::vector<Tensor> outputs = test::run_onnxruntime(model, golden.input);
  EXPECT_LE(test::relative_error(outputs[2], golden.outputs[2].second), 1e-5) << "layer2 comes before the change";
  EXPECT_FALSE(test::relative_error(outputs[3], golden.outputs[3].second) <= 1e-5) << "layer3 has the change";
}

}  // namespace
}  // namespace ferry
