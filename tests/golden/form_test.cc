// Every form of a graph against the plain graph, in OpenVINO: the same pictures have to give the same answers, at the
// border too.
#include <gmock/gmock.h>

#include "ferry/backend.h"
#include "ferry/image.h"
#include "golden_file.h"
#include "runners.h"

namespace ferry {
namespace {

constexpr std::int64_t kBatch = 3, kHeight = 32, kWidth = 40;

const ResNet& network() {
  static const test::GoldenFile golden = test::read_golden(FERRY_SOURCE_DIR "/tests/golden/data/bottleneck.golden");
  return golden.network;
}

OnnxModel exported(const GraphForm& form, Precision precision = Precision::kFp32) {
  ExportOptions options;
  options.form = form;
  options.precision = precision;
  options.height = kHeight;
  options.width = kWidth;
  return export_onnx(network(), options);
}

/// Pixels of all values, NHWC.
Tensor pixels() {
  Tensor tensor(DType::kUInt8, {kBatch, kHeight, kWidth, 3});
  std::uint32_t state = 7;
  for (std::size_t i = 0; i < tensor.size_bytes(); ++i) {
    state = state * 1664525u + 1013904223u;
    tensor.data()[i] = static_cast<std::byte>(state >> 24);
  }
  return tensor;
}

/// For every pixel its place in [N,C,H,W].
template <class Body>
void for_each_planar(const Tensor& nhwc, Body body) {
  std::size_t to = 0;
  for (std::int64_t n = 0; n < kBatch; ++n)
    for (std::int64_t c = 0; c < 3; ++c)
      for (std::int64_t yx = 0; yx < kHeight * kWidth; ++yx)
        body(to++, static_cast<std::size_t>(c), nhwc.data()[(n * kHeight * kWidth + yx) * 3 + c]);
}

Tensor planar(const Tensor& nhwc) {
  Tensor result(DType::kUInt8, {kBatch, 3, kHeight, kWidth});
  for_each_planar(nhwc, [&](std::size_t to, std::size_t, std::byte value) { result.data()[to] = value; });
  return result;
}

Tensor normalised(const Tensor& nhwc) {
  const Preprocessing imagenet;
  Tensor result(DType::kFloat32, {kBatch, 3, kHeight, kWidth});
  for_each_planar(nhwc, [&](std::size_t to, std::size_t c, std::byte value) {
    result.floats()[to] = (static_cast<float>(value) / 255.0f - imagenet.mean[c]) / imagenet.std[c];
  });
  return result;
}

std::vector<Tensor> run(const OnnxModel& model, const Tensor& input) {
  return Backend::load("openvino")
      .open_onnx(model.serialize(), {})
      .new_session()
      .run(std::vector<TensorView>{input.view()});
}

bool openvino_is_here() {
  const std::vector<BackendInfo> known = Backend::list();
  return std::any_of(known.begin(), known.end(), [](const auto& b) { return b.name == "openvino" && b.usable; });
}

struct FormVariant {
  const char* name;
  GraphForm form;
};

std::vector<FormVariant> form_variants() {
  GraphForm nhwc, nchw, padded, wide, conv;
  nhwc.input = padded.input = InputForm::kUint8Nhwc;
  nchw.input = InputForm::kUint8Nchw;
  padded.pad_channels = 4;
  wide.pad_channels = 8;
  conv.conv_classifier = true;
  return {
      {"nhwc", nhwc}, {"nchw", nchw}, {"nhwc_padded", padded}, {"float_padded_to_8", wide}, {"conv_classifier", conv}};
}

class Forms : public testing::TestWithParam<std::size_t> {};

TEST_P(Forms, GiveThePlainGraphsScores) {
  if (!openvino_is_here()) GTEST_SKIP() << "the OpenVINO module is not usable here";
  const GraphForm form = form_variants()[GetParam()].form;
  const Tensor pictures = pixels(), floats = normalised(pictures);
  const Tensor input = form.input == InputForm::kUint8Nhwc   ? pictures.clone()
                       : form.input == InputForm::kUint8Nchw ? planar(pictures)
                                                             : floats.clone();
  const Tensor expected = std::move(run(exported({}), floats).at(0));
  EXPECT_LE(test::relative_error(run(exported(form), input).at(0), expected), 2e-6);
  // FP16 weights are rounded after the standard deviation is in them, and rounded once.
  EXPECT_LE(test::relative_error(run(exported(form, Precision::kFp16), input).at(0), expected), 3e-3);
}

INSTANTIATE_TEST_SUITE_P(, Forms, testing::Range<std::size_t>(0, 5),
                         [](const auto& test) { return std::string(form_variants()[test.param].name); });

TEST(FormsTopK, AreTheBestOfThePlainGraphsScores) {
  if (!openvino_is_here()) GTEST_SKIP() << "the OpenVINO module is not usable here";
  GraphForm form;
  form.input = InputForm::kUint8Nhwc;
  form.top_k = 4;
  const Tensor pictures = pixels();
  const Tensor scores = std::move(run(exported({}), normalised(pictures)).at(0));
  const std::vector<Tensor> outputs = run(exported(form), pictures);
  ASSERT_EQ(outputs.size(), 2u);
  const auto* classes = reinterpret_cast<const std::int32_t*>(outputs[1].data());
  const std::size_t width = scores.floats().size() / kBatch;
  for (std::size_t image = 0; image < kBatch; ++image) {
    const std::vector<ClassScore> best = top_k(scores.floats().subspan(image * width, width), 4, true);
    for (std::size_t k = 0; k < 4; ++k) {
      EXPECT_EQ(classes[image * 4 + k], best[k].index);
      EXPECT_NEAR(outputs[0].floats()[image * 4 + k], best[k].score, 1e-5f);
    }
  }
}

}  // namespace
}  // namespace ferry
