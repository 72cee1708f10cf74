// Full-size networks against torchvision, where a Python with torchvision is found; and the shared trained checkpoint.
#include <gmock/gmock.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "ferry/checkpoint.h"
#include "runners.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;

Tensor first_rows(const Tensor& tensor, std::int64_t rows) {
  Shape shape = tensor.shape();
  shape[0] = rows;
  return Tensor::copy_of({tensor.dtype(), shape, tensor.data()});
}

void expect_answers(const OnnxModel& model, const Tensor& input, const Tensor& expected, double tolerance) {
  const std::vector<std::int64_t> batches{1, 2, 5};
  const std::vector<Tensor> outputs = test::run_onnxruntime_batches(model, input, batches);
  for (std::size_t i = 0; i < batches.size(); ++i)
    EXPECT_LE(test::relative_error(outputs[i], first_rows(expected, batches[i])), tolerance) << "batch " << batches[i];
}

class Torchvision : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (test::torch_python().empty())
      GTEST_SKIP()
          << "no Python with torchvision; name one with FERRY_TORCH_PYTHON, or apt install python3-torchvision";
    if (!test::missing_onnxruntime().empty()) GTEST_SKIP() << test::missing_onnxruntime();
  }
};

TEST_P(Torchvision, AnswersAsOurExportDoes) {
  const test::TemporaryFolder folder;
  ASSERT_TRUE(test::run_command(test::torch_python() + " -B " FERRY_SOURCE_DIR "/tests/golden/torchvision_peer.py " +
                                folder.path() + " " + GetParam()));
  const Tensor input = read_npy(folder / "input.npy"), expected = read_npy(folder / "expected.npy");
  const ResNetArchitecture architecture = architecture_named(GetParam());
  const ResNet network = load_resnet(Checkpoint::open(folder / "weights.pth"), &architecture);
  expect_answers(export_onnx(network), input, expected, 1e-5);
  ExportOptions half;
  half.precision = Precision::kFp16;
  expect_answers(export_onnx(network, half), input, expected, 3e-3);

  OnnxModel theirs = OnnxModel::load(folder / "torch.onnx");
  prepare_foreign(theirs);
  fold_batch_norm(theirs);
  expect_answers(theirs, input, expected, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(, Torchvision, testing::Values("resnet18", "resnet50", "resnext50_32x4d"),
                         [](const auto& test) { return std::string(test.param); });

std::string shared_checkpoint() {
  const char* shared = std::getenv("FERRY_SHARED");
  return std::string(shared != nullptr ? shared : FERRY_SOURCE_DIR "/../shared") + "/models/photocells-resnet101.pth";
}

/// torchvision is the judge where there is one; ONNX Runtime always compares FP16 and kept batch norms with FP32.
TEST(SharedCheckpoint, AllExportsAgree) {
  if (!fs::exists(shared_checkpoint())) GTEST_SKIP() << shared_checkpoint() << " is not there (set FERRY_SHARED)";
  if (!test::missing_onnxruntime().empty()) GTEST_SKIP() << test::missing_onnxruntime();
  const ResNet network = load_resnet(Checkpoint::open(shared_checkpoint()));
  EXPECT_EQ(network.architecture.name(), "resnet101");
  const Tensor input = Tensor::random_normal({2, 3, 224, 224}, 1);
  ExportOptions kept, half;
  kept.keep_batch_norm = true;
  half.precision = Precision::kFp16;
  const Tensor expected = std::move(test::run_onnxruntime(export_onnx(network, kept), input).at(0));
  EXPECT_LE(test::relative_error(test::run_onnxruntime(export_onnx(network), input).at(0), expected), 1e-5);
  EXPECT_LE(test::relative_error(test::run_onnxruntime(export_onnx(network, half), input).at(0), expected), 3e-3);
}

}  // namespace
}  // namespace ferry
