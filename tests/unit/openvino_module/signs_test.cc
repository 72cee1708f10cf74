#include "openvino/signs.h"

#include <gmock/gmock.h>

#include <openvino/op/ops.hpp>
#include <openvino/openvino.hpp>

namespace ferry::openvino {
namespace {

using Source = ov::Output<ov::Node>;
constexpr float kStep = 0.05f;

Source number(float value) { return ov::op::v0::Constant::create(ov::element::f32, {}, {value}); }

/// QuantizeLinear to int8 and back, as OpenVINO's ONNX reader writes them.
Source quantised(const Source& x, float step = kStep, float zero = 0) {
  const auto levels = std::make_shared<ov::op::v0::FakeQuantize>(
      x, number((-128 - zero) * step), number((127 - zero) * step), number(-128), number(127), 256);
  const auto bytes = std::make_shared<ov::op::v0::Convert>(levels, ov::element::i8);
  const auto floats = std::make_shared<ov::op::v0::Convert>(bytes, ov::element::f32);
  const auto origin = std::make_shared<ov::op::v1::Subtract>(floats, number(zero));
  return std::make_shared<ov::op::v1::Multiply>(origin, number(step));
}

Source relu(const Source& x) { return std::make_shared<ov::op::v0::Relu>(x); }

Source pooled(const Source& x) {
  return std::make_shared<ov::op::v1::AvgPool>(x, ov::Strides{2, 2}, ov::Shape{0, 0}, ov::Shape{0, 0}, ov::Shape{2, 2},
                                               false);
}

std::shared_ptr<ov::Model> model_of(const std::function<Source(const Source&)>& layers) {
  const auto input = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, ov::PartialShape{1, 2, 8, 8});
  return std::make_shared<ov::Model>(ov::OutputVector{layers(input)}, ov::ParameterVector{input});
}

/// What the model gives for -4 to 12, beyond both ends of int8 (127 steps are 6.35).
std::vector<float> run(const std::shared_ptr<ov::Model>& model) {
  static ov::Core core;
  ov::CompiledModel compiled = core.compile_model(model->clone(), "CPU");
  ov::InferRequest request = compiled.create_infer_request();
  ov::Tensor input(ov::element::f32, {1, 2, 8, 8});
  for (std::size_t i = 0; i < input.get_size(); ++i) input.data<float>()[i] = static_cast<float>(i) / 8 - 4;
  request.set_input_tensor(input);
  request.infer();
  const ov::Tensor output = request.get_output_tensor();
  return {output.data<float>(), output.data<float>() + output.get_size()};
}

// TBB, which the CPU plugin starts, loads a library with RTLD_DEEPBIND, and AddressSanitizer ends the program for that.
#ifdef __has_feature  // of clang; GCC says it by a macro
constexpr bool kCanRun = !__has_feature(address_sanitizer);
#elif defined(__SANITIZE_ADDRESS__)
constexpr bool kCanRun = false;
#else
constexpr bool kCanRun = true;
#endif

int unsigned_types(const ov::Model& model) {
  int found = 0;
  for (const auto& node : model.get_ops()) found += node->get_output_element_type(0) == ov::element::u8;
  return found;
}

TEST(Signs, GoBehindReluAndTheNumbersStay) {
  if (!kCanRun) GTEST_SKIP() << "OpenVINO's CPU plugin does not run under AddressSanitizer";
  const auto model = model_of([](const Source& x) { return quantised(relu(x)); });
  const std::vector<float> before = run(model);
  EXPECT_FLOAT_EQ(before.back(), 127 * kStep);  // cut off
  EXPECT_EQ(drop_signs(model), 1);
  EXPECT_EQ(unsigned_types(*model), 1);
  EXPECT_THAT(run(model), testing::Pointwise(testing::FloatEq(), before));
}

TEST(Signs, GoBehindWhateverKeepsThem) {
  if (!kCanRun) GTEST_SKIP() << "OpenVINO's CPU plugin does not run under AddressSanitizer";
  const auto model = model_of([](const Source& x) {
    const Source first = quantised(relu(x));
    return quantised(pooled(first), 0.02f);
  });
  const std::vector<float> before = run(model);
  EXPECT_EQ(drop_signs(model), 2);
  const std::vector<float> after = run(model);
  EXPECT_THAT(after, testing::Pointwise(testing::FloatNear(0.0201f), before));  // a mean may lie between two steps
  EXPECT_FLOAT_EQ(after.back(), 127 * 0.02f);
}

TEST(Signs, StayWhereValuesMayBeNegative) {
  for (const auto& layers : std::vector<std::function<Source(const Source&)>>{
           [](const Source& x) { return quantised(x); }, [](const Source& x) { return quantised(pooled(x)); },
           [](const Source& x) { return quantised(std::make_shared<ov::op::v1::Multiply>(relu(x), number(-1))); },
           [](const Source& x) { return quantised(std::make_shared<ov::op::v1::Subtract>(relu(x), number(1))); },
           [](const Source& x) { return quantised(std::make_shared<ov::op::v1::Add>(relu(x), x)); },
           [](const Source& x) { return quantised(std::make_shared<ov::op::v0::Clamp>(x, -1, 6)); },
           [](const Source& x) { return quantised(quantised(relu(x), kStep, -128)); }}) {
    const auto model = model_of(layers);
    EXPECT_EQ(drop_signs(model), 0);
    EXPECT_EQ(unsigned_types(*model), 0);
  }
}

TEST(Signs, StayWhereTheZeroPointIsNotZero) {
  const auto model = model_of([](const Source& x) { return quantised(relu(x), kStep, -128); });
  EXPECT_EQ(drop_signs(model), 0);
}

}  // namespace
}  // namespace ferry::openvino
