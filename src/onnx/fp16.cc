// Precision lives in the graph: every float32 value becomes float16, except beside operators that need float32. Those
// get Casts around them, as do the model's inputs and outputs with `keep_io`.
#include <fmt/format.h>

#include <array>
#include <cmath>

#include "base/convert_bulk.h"
#include "ferry/error.h"
#include "onnx/foreign/steps.h"
#include "onnx/graph_index.h"
#include "onnx/graph_writer.h"
#include "onnx/infer_types.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

constexpr float kRoundsToInfinity = 65520.0f;  // and anything above
constexpr float kRoundsToZero = 0x1p-25f;      // and anything below

/// Inputs that stay float32 whatever the arithmetic is: sizes, not values.
bool is_float32_input(const NodeProto& node, int input) { return node.op_type() == "Resize" && input >= 1; }

/// Operators whose intermediate sums or exponents leave FP16's range, or that take float32 only.
bool needs_float32(const NodeProto& node) {
  static const std::array<const char*, 10> ops{
      "ReduceSumSquare", "ReduceL2",     "ReduceLogSumExp", "ReduceProd", "Pow",
      "CumSum",          "RandomNormal", "RandomUniform",   "RoiAlign",   "NonMaxSuppression"};
  for (const char* op : ops)
    if (node.op_type() == op) return true;
  return false;
}

enum class Fit { kGood, kTooSmall };

[[noreturn]] void refuse(const TensorProto& weight, float value) {
  if (std::isfinite(value))
    throw Error(Stage::kOnnx, weight.name(),
                fmt::format("the value {} is beyond FP16, whose largest number is 65504", value),
                "Keep FP32 (--precision fp32).");
  throw Error(Stage::kOnnx, weight.name(), "the weights hold a NaN or an infinity", "The checkpoint is damaged.");
}

/// Throws if a value becomes infinite or is no number. kTooSmall: nothing but zeros would be left of other values.
Fit fit_in_half(const TensorProto& weight) {
  const std::span<const float> values = floats_of(weight);
  float largest = 0;
  bool good = true;
  for (const float value : values) {
    const float magnitude = std::fabs(value);
    good &= magnitude < kRoundsToInfinity;  // false for NaN
    largest = magnitude > largest ? magnitude : largest;
  }
  if (!good)
    for (const float value : values)
      if (!(std::fabs(value) < kRoundsToInfinity)) refuse(weight, value);
  return largest > 0 && largest <= kRoundsToZero ? Fit::kTooSmall : Fit::kGood;
}

void to_half(TensorProto& weight) {
  const std::string& floats = weight.raw_data();
  std::string halves(floats.size() / 2, '\0');
  floats_to_halves(reinterpret_cast<const std::byte*>(floats.data()), reinterpret_cast<std::byte*>(halves.data()),
                   halves.size() / 2);
  weight.mutable_raw_data()->swap(halves);
  weight.set_data_type(TensorProto::FLOAT16);
}

/// Writes the nodes again, one by one, with Casts where float16 and float32 meet.
class Converter {
 public:
  explicit Converter(OnnxModel::Impl& model)
      : graph_(*model.proto.mutable_graph()), index_(graph_), inferred_(infer_types(model.proto, model.name)) {
    for (const auto& [value, type] : types_of(inferred_))
      if (type->tensor_type().elem_type() == TensorProto::FLOAT) float_values_.insert(value);
    for (const TensorProto& weight : graph_.initializer())
      if (weight.data_type() == TensorProto::FLOAT) float_values_.insert(weight.name());
  }

  int run(bool keep_io) {
    for (const NodeProto& node : graph_.node()) plan(node);
    for (auto& input : *graph_.mutable_input()) convert_input(input, keep_io);
    for (const auto& output : graph_.output())
      if (keep_io && is_float(output.name())) half_names_[output.name()] = index_.unused_name(output.name() + ".fp16");
    for (NodeProto& node : *graph_.mutable_node()) {
      if (float32_nodes_.contains(&node)) {
        write_float32(node);
      } else {
        write_half(node);
      }
    }
    for (auto& output : *graph_.mutable_output()) convert_output(output, keep_io);
    graph_.mutable_node()->Swap(written_.mutable_node());
    graph_.clear_value_info();  // its types are no longer true, and anyone can infer them again
    return convert_weights();
  }

 private:
  bool is_float(const std::string& value) const { return float_values_.contains(value); }

  /// Which nodes stay float32, and who needs which version of each weight. Besides the operators of the list these are
  /// nodes with a weight of which FP16 would leave only zeros, such as the constant that keeps a division finite.
  void plan(const NodeProto& node) {
    if (node.op_type() == "QuantizeLinear" || node.op_type() == "DequantizeLinear")
      throw Error(Stage::kOnnx, describe(node), "the model is quantised already: its scales are float32 by definition",
                  "Convert the FP32 model instead.");
    bool keep = needs_float32(node);
    const auto is_weight = [&](int i) { return is_float(node.input(i)) && index_.weight(node.input(i)) != nullptr; };
    for (int i = 0; i < node.input_size(); ++i)
      if (is_weight(i) && !is_float32_input(node, i))
        keep |= fit_in_half(*index_.weight(node.input(i))) == Fit::kTooSmall;
    if (keep) float32_nodes_.insert(&node);
    for (int i = 0; i < node.input_size(); ++i)
      if (is_weight(i)) (keep || is_float32_input(node, i) ? full_weights_ : half_weights_).insert(node.input(i));
  }

  void convert_input(onnx::ValueInfoProto& input, bool keep_io) {
    if (!is_float(input.name())) return;
    if (!keep_io) {
      input.mutable_type()->mutable_tensor_type()->set_elem_type(TensorProto::FLOAT16);
      return;
    }
    const std::string half = half_names_[input.name()] = index_.unused_name(input.name() + ".fp16");
    *written_.add_node() = make_cast(input.name(), half, TensorProto::FLOAT16);
  }

  void convert_output(onnx::ValueInfoProto& output, bool keep_io) {
    if (!is_float(output.name())) return;
    if (keep_io) {
      *written_.add_node() = make_cast(half_names_[output.name()], output.name(), TensorProto::FLOAT);
    } else {
      output.mutable_type()->mutable_tensor_type()->set_elem_type(TensorProto::FLOAT16);
    }
  }

  /// The name under which a value is found in float16.
  std::string half_name(const std::string& value) const {
    const auto found = half_names_.find(value);
    if (found != half_names_.end()) return found->second;
    return half_weights_.contains(value) && full_weights_.contains(value) ? value + ".fp16" : value;
  }

  void write_half(NodeProto& node) {
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      const bool names_type = attribute.name() == "to" || attribute.name() == "dtype";
      if (names_type && attribute.i() == TensorProto::FLOAT) attribute.set_i(TensorProto::FLOAT16);
      if (!attribute.has_t() || attribute.t().data_type() != TensorProto::FLOAT) continue;
      if (fit_in_half(attribute.t()) == Fit::kTooSmall)
        throw Error(Stage::kOnnx, describe(node), "its constant is too small for FP16", "Keep FP32.");
      to_half(*attribute.mutable_t());
    }
    for (int i = 0; i < node.input_size(); ++i)
      if (!is_float32_input(node, i)) node.set_input(i, half_name(node.input(i)));
    for (std::string& output : *node.mutable_output()) output = half_name(output);
    written_.add_node()->Swap(&node);
  }

  void write_float32(NodeProto& node) {
    const std::string stem = node.name().empty() ? node.output(0) : node.name();
    std::vector<NodeProto> after;
    for (int i = 0; i < node.input_size(); ++i) {
      if (!is_float(node.input(i)) || index_.weight(node.input(i)) != nullptr) continue;
      const std::string full = fmt::format("{}.in{}.fp32", stem, i);
      *written_.add_node() = make_cast(half_name(node.input(i)), full, TensorProto::FLOAT);
      node.set_input(i, full);
    }
    for (int i = 0; i < node.output_size(); ++i) {
      if (!is_float(node.output(i))) continue;
      const std::string full = fmt::format("{}.out{}.fp32", stem, i);
      after.push_back(make_cast(full, half_name(node.output(i)), TensorProto::FLOAT16));
      node.set_output(i, full);
    }
    written_.add_node()->Swap(&node);
    for (NodeProto& cast : after) written_.add_node()->Swap(&cast);
  }

  int convert_weights() {
    for (int i = 0, count = graph_.initializer_size(); i < count; ++i) {
      TensorProto* weight = graph_.mutable_initializer(i);
      if (!half_weights_.contains(weight->name())) continue;
      if (full_weights_.contains(weight->name())) {
        TensorProto& copy = *graph_.add_initializer();
        copy = graph_.initializer(i);
        copy.set_name(half_name(copy.name()));
        weight = &copy;
      }
      to_half(*weight);
    }
    return static_cast<int>(half_weights_.size());
  }

  onnx::GraphProto& graph_;
  const GraphIndex index_;
  const onnx::ModelProto inferred_;
  onnx::GraphProto written_;
  std::unordered_set<std::string> float_values_, half_weights_, full_weights_;
  std::unordered_set<const NodeProto*> float32_nodes_;
  std::unordered_map<std::string, std::string> half_names_;
};

}  // namespace

int convert_to_fp16(OnnxModel& model, bool keep_io) {
  OnnxModel::Impl& impl = model.impl();
  if (opset_of(impl.proto) > kOnnxOpset)
    throw Error(Stage::kOnnx, impl.name, fmt::format("opset {} cannot be rewritten yet", opset_of(impl.proto)),
                "Bring the model to opset 17 first (prepare_foreign).");
  Changes ignored;
  fold_constants(*impl.proto.mutable_graph(),
                 ignored);  // a Constant's value becomes a weight, converted like any other
  return Converter(impl).run(keep_io);
}

}  // namespace ferry
