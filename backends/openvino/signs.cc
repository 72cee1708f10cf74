#include "openvino/signs.h"

#include <algorithm>
#include <cmath>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/ops.hpp>
#include <vector>

namespace ferry::openvino {
namespace {

using Source = ov::Output<ov::Node>;

/// Whether `source` is a constant, perhaps behind a Convert, all of whose values are as asked.
template <typename Asked>
bool constant_of(const Source& source, const Asked& asked) {
  const ov::Node* node = source.get_node();
  if (ov::is_type<ov::op::v0::Convert>(node)) node = node->input_value(0).get_node();
  const auto* constant = ov::as_type<const ov::op::v0::Constant>(node);
  if (constant == nullptr) return false;
  const std::vector<float> values = constant->cast_vector<float>();
  return std::all_of(values.begin(), values.end(), asked);
}

/// The one value of input `i`; NaN if it has several or is no constant.
float scalar(const ov::Node& node, std::size_t i) {
  const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(node.get_input_node_shared_ptr(i));
  if (!constant || ov::shape_size(constant->get_shape()) != 1) return NAN;
  return constant->cast_vector<float>().front();
}

/// A quantisation whose zero point is zero: in and out are proportional.
bool keeps_zero(const ov::Node& quantize) {
  const float in_low = scalar(quantize, 1), in_high = scalar(quantize, 2);
  const float out_low = scalar(quantize, 3), out_high = scalar(quantize, 4);
  return in_high > 0 && out_high > 0 && std::fabs(in_low / in_high - out_low / out_high) < 1e-3f;
}

bool keeps_signs(const ov::Node* node) {
  if (ov::is_type<ov::op::v0::FakeQuantize>(node)) return keeps_zero(*node);
  return ov::is_type<ov::op::util::MaxPoolBase>(node) || ov::is_type<ov::op::util::AvgPoolBase>(node) ||
         ov::is_type<ov::op::v1::ReduceMean>(node) || ov::is_type<ov::op::v0::Convert>(node) ||
         ov::is_type<ov::op::v1::Reshape>(node) || ov::is_type<ov::op::v0::Squeeze>(node) ||
         ov::is_type<ov::op::v1::Transpose>(node);
}

/// Whether no value of `source` can be below zero, as far as the operators in front of it say.
bool not_negative(const Source& source) {
  const ov::Node* node = source.get_node();
  if (ov::is_type<ov::op::v0::Relu>(node)) return true;
  if (const auto* clamp = ov::as_type<const ov::op::v0::Clamp>(node)) return clamp->get_min() >= 0;
  if (keeps_signs(node)) return not_negative(node->input_value(0));
  if (ov::is_type<ov::op::v1::Multiply>(node))  // a dequantisation: by a scale
    return constant_of(node->input_value(1), [](float v) { return v >= 0; }) && not_negative(node->input_value(0));
  if (ov::is_type<ov::op::v1::Subtract>(node))  // its zero point
    return constant_of(node->input_value(1), [](float v) { return v == 0; }) && not_negative(node->input_value(0));
  return false;
}

/// To int8 by one step and zero point 0, as the ONNX reader writes QuantizeLinear: levels first, then the type.
bool is_int8(const ov::op::v0::FakeQuantize& quantize) {
  if (quantize.get_levels() != 256 || scalar(quantize, 3) != -128 || scalar(quantize, 4) != 127) return false;
  if (!keeps_zero(quantize)) return false;
  const auto readers = quantize.output(0).get_target_inputs();
  return !readers.empty() && std::all_of(readers.begin(), readers.end(), [](const ov::Input<ov::Node>& reader) {
    return ov::is_type<ov::op::v0::Convert>(reader.get_node()) &&
           reader.get_node()->get_output_element_type(0) == ov::element::i8;
  });
}

/// `source`, at most `top`. A Clamp becomes part of the convolution in front of it. Behind a dequantisation the plugin
/// would compute it in that one's steps, and end at a whole one below `top`; a Minimum it leaves in float.
std::shared_ptr<ov::Node> cut(const Source& source, float top) {
  const ov::Node* node = source.get_node();
  while (keeps_signs(node)) node = node->input_value(0).get_node();
  if (ov::is_type<ov::op::v1::Multiply>(node))
    return std::make_shared<ov::op::v1::Minimum>(source, ov::op::v0::Constant::create(ov::element::f32, {}, {top}));
  return std::make_shared<ov::op::v0::Clamp>(source, 0, top);
}

void drop_sign(const std::shared_ptr<ov::op::v0::FakeQuantize>& quantize) {
  const float top = scalar(*quantize, 2), step = top / 127;
  const auto number = [&](float value) { return ov::op::v0::Constant::create(ov::element::f32, {}, {value}); };
  const std::shared_ptr<ov::Node> ended = cut(quantize->input_value(0), top);
  const auto positive =
      std::make_shared<ov::op::v0::FakeQuantize>(ended, number(0), number(255 * step), number(0), number(255), 256);
  ended->set_friendly_name(quantize->get_friendly_name() + "/end");
  positive->set_friendly_name(quantize->get_friendly_name());
  for (const ov::Input<ov::Node>& reader : quantize->output(0).get_target_inputs()) {
    const std::shared_ptr<ov::Node> old = reader.get_node()->shared_from_this();
    const auto bytes = std::make_shared<ov::op::v0::Convert>(positive, ov::element::u8);
    bytes->set_friendly_name(old->get_friendly_name());
    ov::replace_node(old, bytes);
  }
}

}  // namespace

int drop_signs(const std::shared_ptr<ov::Model>& model) {
  std::vector<std::shared_ptr<ov::op::v0::FakeQuantize>> found;
  for (const std::shared_ptr<ov::Node>& node : model->get_ordered_ops()) {
    const auto quantize = ov::as_type_ptr<ov::op::v0::FakeQuantize>(node);
    if (quantize && is_int8(*quantize) && not_negative(quantize->input_value(0))) found.push_back(quantize);
  }
  for (const auto& quantize : found) drop_sign(quantize);
  if (!found.empty()) model->validate_nodes_and_infer_types();
  return static_cast<int>(found.size());
}

}  // namespace ferry::openvino
