// Files written by torch.onnx.export (python/make_foreign.py): prepared, folded and halved, they still answer the same.
#include <gmock/gmock.h>

#include <filesystem>

#include "runners.h"

namespace ferry {
namespace {

const char* const kFolder = FERRY_SOURCE_DIR "/tests/golden/foreign";

std::vector<std::string> files() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder))
    if (entry.path().extension() == ".onnx") names.push_back(entry.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}

void expect_answer(const OnnxModel& model, double tolerance) {
  const Tensor input = read_npy(std::string(kFolder) + "/input.npy");
  const Tensor expected = read_npy(std::string(kFolder) + "/expected.npy");
  if (const auto outputs = test::run_openvino(model, input)) {
    EXPECT_LE(test::relative_error(outputs->at(0), expected), tolerance) << "OpenVINO";
  }
  if (test::missing_onnxruntime().empty()) {
    EXPECT_LE(test::relative_error(test::run_onnxruntime(model, input).at(0), expected), tolerance) << "ONNX Runtime";
  }
}

class ForeignFile : public testing::TestWithParam<std::string> {};

TEST_P(ForeignFile, AnswersTheSameAfterEveryPass) {
  OnnxModel model = OnnxModel::load(std::string(kFolder) + "/" + GetParam() + ".onnx");
  prepare_foreign(model);
  model.check();
  const OnnxSummary summary = model.summary();
  EXPECT_EQ(summary.opset, 17);
  EXPECT_THAT(summary.inputs.at(0).shape, testing::ElementsAre(-1, 3, 32, 32));
  EXPECT_THAT(summary.outputs.at(0).shape, testing::ElementsAre(-1, 10));
  expect_answer(model, 1e-5);  // on two images, also where the file was for one
  fold_batch_norm(model);
  expect_answer(model, 1e-5);
  convert_to_fp16(model, /*keep_io=*/true);
  model.check();
  expect_answer(model, 3e-3);
}

INSTANTIATE_TEST_SUITE_P(, ForeignFile, testing::ValuesIn(files()),
                         [](const auto& test) { return std::string(test.param); });

TEST(ForeignFiles, AreThere) { EXPECT_GE(files().size(), 8u); }

}  // namespace
}  // namespace ferry
