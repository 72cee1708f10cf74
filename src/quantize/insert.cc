// Q/DQ insertion.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "ferry/error.h"
#include "ferry/quantize.h"
#include "onnx/graph_index.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"
#include "quantize/channels.h"
#include "quantize/half.h"
#include "quantize/layers.h"
#include "quantize/rounding.h"
#include "quantize/shift.h"

namespace ferry {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

constexpr int kSteps = 127, kShift = 128;    // int8 above zero and below
constexpr float kDeadScale = 1.0f / kSteps;  // of a tensor or channel that is all zeros: any positive number does

TensorProto scalar(const std::string& name, float value) {
  return make_tensor(name, {DType::kFloat32, {}, reinterpret_cast<const std::byte*>(&value)});
}

class Inserter {
 public:
  Inserter(OnnxModel& model, const Calibration& calibration, const QuantizeOptions& options)
      : graph_(*model.impl().proto.mutable_graph()),
        calibration_(calibration),
        options_(options),
        index_(graph_),
        plan_(plan_layers(model, options.keep)),
        shifts_(find_shifts(index_, graph_, plan_, options.full_range)) {}

  QuantizeReport run() {
    check_keep();
    if (plan_.layers.empty())
      throw Error(Stage::kQuantize, "model", "there is nothing that can be quantised",
                  plan_.kept.empty() ? "It has no convolution and no matrix product."
                                     : fmt::format("{}: {}", plan_.kept.front().node, plan_.kept.front().reason));
    for (const std::string& tensor : plan_.tensors()) add_scale(tensor);
    for (const QuantizedLayer& layer : plan_.layers) quantize(layer);
    weave();
    drop_relus();
    keep_others();
    erase_unused(graph_);
    return std::move(report_);
  }

 private:
  void check_keep() const {
    std::set<std::string> unknown = options_.keep;
    for (const QuantizedLayer& layer : plan_.layers) unknown.erase(layer.node);
    for (const FloatLayer& layer : plan_.kept) unknown.erase(layer.node);
    if (unknown.empty()) return;
    const std::string example = !plan_.layers.empty() ? plan_.layers.back().node : "";
    throw Error(Stage::kQuantize, *unknown.begin(), "is no convolution or matrix product of this model",
                example.empty() ? "" : fmt::format("Layers are called as its nodes, for example {}.", example));
  }

  // Those that were asked for go to FP16, where they are fastest; those that cannot be quantised stay as they are.
  void keep_others() {
    const std::vector<std::string> halves = keep_in_half(graph_, {options_.keep.begin(), options_.keep.end()});
    for (const FloatLayer& kept : plan_.kept) {
      const bool asked = options_.keep.contains(kept.node);
      const bool half = std::find(halves.begin(), halves.end(), kept.node) != halves.end();
      report_.kept.push_back({kept.node, kept.op,
                              !asked ? kept.reason
                              : half ? "FP16, as asked"
                                     : "FP32, as asked: its weights are beyond FP16"});
    }
  }

  struct Pair {                         // Q and DQ of one activation
    std::optional<NodeProto> subtract;  // of its constant, where no bias takes that
    NodeProto quantize, dequantize;
  };

  const TensorStatistics& statistics(const std::string& tensor) const {
    const auto found = calibration_.tensors.find(tensor);
    if (found == calibration_.tensors.end() || found->second.count == 0)
      throw Error(Stage::kQuantize, tensor, "the calibration does not cover this tensor",
                  "It was made for another model, or for one that was not equalised: calibrate again.");
    return found->second;
  }

  void add_scale(const std::string& tensor) {
    const TensorStatistics& s = statistics(tensor);
    const double full = shifts_.contains(tensor) ? range_of(s, options_.range, kShift + kSteps) : 0;
    const bool shifted = fits_full_range(s, full);
    if (!shifted) shifts_.erase(tensor);
    const float steps = shifted ? kShift + kSteps : kSteps;
    const double range = shifted ? full : range_of(s, options_.range);
    ranges_[tensor] = range;
    if (range == 0)
      report_.notes.push_back(fmt::format("{} was zero in every picture", tensor));
    else
      note_dead_channels(tensor, s);
    const std::string stem = index_.unused_name(tensor + "_scale");
    const float step = range > 0 ? static_cast<float>(range) / steps : kDeadScale;
    *graph_.add_initializer() = scalar(stem, step);
    const std::int8_t zero = 0;
    *graph_.add_initializer() = make_tensor(index_.unused_name(tensor + "_zero"),
                                            {DType::kInt8, {}, reinterpret_cast<const std::byte*>(&zero)});
    Pair pair;
    if (shifted) take_off(tensor, step * kShift, pair);
    for (NodeProto* node : {&pair.quantize, &pair.dequantize}) {
      const bool first = node == &pair.quantize;
      node->set_op_type(first ? "QuantizeLinear" : "DequantizeLinear");
      node->set_name(tensor + (first ? "/quantize" : "/dequantize"));
      node->add_input(first ? quantised_value(tensor) : tensor + "_q");
      node->add_input(stem);
      node->add_input(index_.unused_name(tensor + "_zero"));
      node->add_output(tensor + (first ? "_q" : "_dq"));
    }
    pairs_.emplace(shifted ? shifts_.at(tensor).made : tensor, std::move(pair));
  }

  void take_off(const std::string& tensor, float constant, Pair& pair) {
    taken_off_[tensor] = static_cast<double>(constant);
    const Shift& shift = shifts_.at(tensor);
    if (!shift.writer.empty()) return;
    const std::string name = index_.unused_name(tensor + "_half");
    *graph_.add_initializer() = scalar(name, constant);
    NodeProto& subtract = pair.subtract.emplace();
    subtract.set_op_type("Sub");
    subtract.set_name(tensor + "/shift");
    subtract.add_input(tensor);
    subtract.add_input(name);
    subtract.add_output(shift.value);
  }

  // What is quantised in the tensor's place.
  const std::string& quantised_value(const std::string& tensor) const {
    const auto shift = shifts_.find(tensor);
    return shift == shifts_.end() ? tensor : shift->second.value;
  }

  // The constant that was taken off a tensor; 0: none.
  double taken_off(const std::string& tensor) const {
    const auto found = taken_off_.find(tensor);
    return found == taken_off_.end() ? 0 : found->second;
  }

  void note_dead_channels(const std::string& tensor, const TensorStatistics& s) {
    const auto dead = std::count(s.channel_max.begin(), s.channel_max.end(), 0.0f);
    if (dead > 0)
      report_.notes.push_back(
          fmt::format("{}: {} of {} channels were zero in every picture", tensor, dead, s.channel_max.size()));
  }

  void quantize(const QuantizedLayer& layer) {
    NodeProto& node = *graph_.mutable_node(layer.index);
    QuantizedNode entry{
        layer.node, layer.op, ranges_.at(layer.input), shifts_.contains(layer.input), 0, !layer.residual.empty()};
    entry.weight_noise = quantize_weight(layer, node);
    node.set_input(0, layer.input + "_dq");
    if (!layer.residual.empty()) {
      NodeProto& add = *index_.consumers(node.output(0)).front();
      for (int i = 0; i < add.input_size(); ++i)
        if (add.input(i) == layer.residual) add.set_input(i, layer.residual + "_dq");
    }
    if (!layer.pooled.empty())
      for (NodeProto* reader : index_.consumers(layer.pooled))
        if (is_global_average(*reader)) reader->set_input(0, layer.pooled + "_dq");
    report_.quantized.push_back(std::move(entry));
  }

  // Fewer for weights that meet the picture itself, which is signed. x86 processors without VNNI add up pairs of
  // products of an unsigned and a signed byte in 16 bits; engines shift signed activations by 128 for them, and
  // 255 * 127 * 2 does not fit. Behind relu activations end at 127 and do.
  float steps_of(const QuantizedLayer& layer) const {
    return reads_picture(layer) && options_.first_layer_bits < 8 ? 63 : kSteps;
  }

  bool reads_picture(const QuantizedLayer& layer) const {
    return std::any_of(graph_.input().begin(), graph_.input().end(),
                       [&](const auto& input) { return input.name() == layer.input; });
  }

  // Weights that meet the picture: their number is small and what they meet is known to the last product, so they are
  // rounded together. Nothing for other layers, and where the pictures say nothing of this window (then with a note).
  std::optional<JointRounding> joint_rounding(const QuantizedLayer& layer, const NodeProto& node,
                                              const TensorProto& weight) {
    if (layer.op != "Conv" || weight.dims_size() != 4 || !reads_picture(layer)) return std::nullopt;
    const PictureMoments& picture = calibration_.picture;
    const auto one_by_one = [&](const std::string& why) {
      report_.notes.push_back(fmt::format("{}: weights rounded one by one, because {}", layer.node, why));
      return std::nullopt;
    };
    if (picture.empty()) return one_by_one("the calibration is of before pixels were held together; calibrate again");
    const onnx::AttributeProto* dilations = find_attribute(node, "dilations");
    const auto dilation = [&](int i) {
      return dilations != nullptr && i < dilations->ints_size() ? dilations->ints(i) : 1;
    };
    const std::int64_t height = weight.dims(2), width = weight.dims(3);
    if (weight.dims(1) != picture.channels ||
        std::max((height - 1) * dilation(0), (width - 1) * dilation(1)) > PictureMoments::kReach)
      return one_by_one("its window is larger than 7x7 or takes only some channels");
    JointRounding joint(window_moments(picture, height, width, dilation(0), dilation(1)));
    if (!joint.usable()) return one_by_one("the pictures say nothing of it: all zero, or no second moments");
    return joint;
  }

  // Returns the noise over the signal that what the layer reads makes of it.
  static double round_jointly(const JointRounding& joint, std::span<const float> values,
                              const std::vector<float>& scales, float steps, std::vector<std::int8_t>& rounded) {
    const std::size_t row = values.size() / scales.size();
    std::vector<double> weights(row), errors(row);
    double noise = 0, signal = 0;
    for (std::size_t o = 0; o < scales.size(); ++o) {
      const float* of_channel = &values[o * row];
      const std::vector<std::int8_t> q = joint.round(of_channel, scales[o], steps);
      for (std::size_t i = 0; i < row; ++i) {
        rounded[o * row + i] = q[i];
        weights[i] = static_cast<double>(of_channel[i]);
        errors[i] = static_cast<double>(q[i]) * static_cast<double>(scales[o]) - weights[i];
      }
      noise += joint.power(errors);
      signal += joint.power(weights);
    }
    return signal > 0 ? noise / signal : 0;
  }

  // Per output channel, symmetric. Returns the noise over the signal that the layer's input makes of it.
  double quantize_weight(const QuantizedLayer& layer, NodeProto& node) {
    const TensorProto& weight = *index_.weight(layer.weight);
    const TensorStatistics& input = statistics(layer.input);
    const std::int64_t groups = int_attribute(node, "group", 1);
    if (static_cast<std::int64_t>(input.channel_max.size()) != input_channels(weight, groups, layer.channel_axis))
      throw Error(Stage::kQuantize, layer.node,
                  fmt::format("the calibration has {} channels for its input", input.channel_max.size()),
                  "It was made for another model: calibrate again.");
    const auto values = floats_of(weight);
    const float steps = steps_of(layer);
    std::vector<float> scales(static_cast<std::size_t>(weight.dims(layer.channel_axis)), 0.0f);
    for_each_weight(weight, groups, layer.channel_axis,
                    [&](auto o, auto, auto e) { scales[o] = std::max(scales[o], std::fabs(values[e]) / steps); });
    for (float& scale : scales)
      if (!(scale > 0)) scale = kDeadScale;
    std::vector<std::int8_t> rounded(values.size());
    const std::optional<JointRounding> joint = joint_rounding(layer, node, weight);
    const auto round_alone = [&](auto o, auto, auto e) {
      rounded[e] = static_cast<std::int8_t>(std::min(std::max(std::nearbyint(values[e] / scales[o]), -steps), steps));
    };
    if (!joint) for_each_weight(weight, groups, layer.channel_axis, round_alone);
    const double together = joint ? round_jointly(*joint, values, scales, steps, rounded) : 0;
    std::vector<double> bias(scales.size(), bias_of_shifts(layer));  // what is added to it
    const double missing = taken_off(layer.input);
    double noise = 0, signal = 0;
    for_each_weight(weight, groups, layer.channel_axis, [&](auto o, auto i, auto e) {
      const double used = static_cast<double>(rounded[e]) * scales[o], error = used - values[e];
      bias[o] += missing * used - (options_.correct_bias ? error * input.channel_mean[i] : 0);
      noise += error * error * input.channel_power[i];
      signal += static_cast<double>(values[e]) * values[e] * input.channel_power[i];
    });
    if (std::any_of(bias.begin(), bias.end(), [](double b) { return b != 0; })) change_bias(layer, node, bias);
    add_weight(layer, node, weight, rounded, scales);
    if (joint) return together;
    return signal > 0 ? noise / signal : 0;
  }

  void add_weight(const QuantizedLayer& layer, NodeProto& node, const TensorProto& weight,
                  const std::vector<std::int8_t>& rounded, const std::vector<float>& scales) {
    const std::string stem = layer.node;
    const std::string name = index_.unused_name(stem + ".weight_int8"),
                      scale = index_.unused_name(stem + ".weight_scale");
    const std::string zero = index_.unused_name(stem + ".weight_zero"),
                      result = index_.unused_name(stem + ".weight_dq");
    const Shape channels{static_cast<std::int64_t>(scales.size())};
    const std::vector<std::int8_t> zeros(scales.size());
    *graph_.add_initializer() =
        make_tensor(name, {DType::kInt8, shape_of(weight), reinterpret_cast<const std::byte*>(rounded.data())});
    *graph_.add_initializer() =
        make_tensor(scale, {DType::kFloat32, channels, reinterpret_cast<const std::byte*>(scales.data())});
    *graph_.add_initializer() =
        make_tensor(zero, {DType::kInt8, channels, reinterpret_cast<const std::byte*>(zeros.data())});
    NodeProto dequantize;
    dequantize.set_op_type("DequantizeLinear");
    dequantize.set_name(stem + "/weight_dequantize");
    for (const std::string& input : {name, scale, zero}) dequantize.add_input(input);
    dequantize.add_output(result);
    set_attribute(dequantize, "axis", static_cast<std::int64_t>(layer.channel_axis));
    before_[&node].push_back(std::move(dequantize));
    node.set_input(1, result);
  }

  // Of the constants that are taken off what it adds up and what it writes.
  double bias_of_shifts(const QuantizedLayer& layer) const {
    double sum = taken_off(layer.residual);
    for (const auto& [tensor, shift] : shifts_)
      if (shift.writer == layer.node) sum -= taken_off(tensor);
    return sum;
  }

  void change_bias(const QuantizedLayer& layer, NodeProto& node, const std::vector<double>& change) {
    if (!layer.takes_bias) return;
    const TensorProto* old = node.input_size() > 2 && !node.input(2).empty() ? index_.weight(node.input(2)) : nullptr;
    std::vector<float> values(change.size());
    for (std::size_t o = 0; o < change.size(); ++o)
      values[o] = static_cast<float>((old != nullptr ? floats_of(*old)[o] : 0.0f) + change[o]);
    const std::string name = index_.unused_name(layer.node + ".bias_corrected");
    *graph_.add_initializer() = make_tensor(name, {DType::kFloat32,
                                                   {static_cast<std::int64_t>(values.size())},
                                                   reinterpret_cast<const std::byte*>(values.data())});
    while (node.input_size() < 3) node.add_input();
    node.set_input(2, name);
  }

  // Puts each new node behind what it reads and before what reads it.
  void weave() {
    google::protobuf::RepeatedPtrField<NodeProto> old;
    std::unordered_map<const NodeProto*, std::vector<NodeProto>> before = std::move(before_);
    std::vector<std::vector<NodeProto>> in_front;
    for (NodeProto& node : *graph_.mutable_node()) in_front.push_back(std::move(before[&node]));
    old.Swap(graph_.mutable_node());
    const auto add_pair = [&](const std::string& tensor) {
      const auto pair = pairs_.find(tensor);
      if (pair == pairs_.end()) return;
      if (pair->second.subtract) *graph_.add_node() = *pair->second.subtract;
      *graph_.add_node() = pair->second.quantize;
      *graph_.add_node() = pair->second.dequantize;
    };
    for (const auto& input : graph_.input()) add_pair(input.name());
    for (int n = 0; n < old.size(); ++n) {
      for (NodeProto& node : in_front[static_cast<std::size_t>(n)]) *graph_.add_node() = std::move(node);
      *graph_.add_node() = old.Get(n);
      for (const std::string& output : old.Get(n).output()) add_pair(output);
    }
  }

  // Rounding to int8 ends where they would. Their readers are DequantizeLinears by now, or a pooling.
  void drop_relus() {
    std::unordered_map<std::string, std::string> in_place_of;
    for (const auto& [tensor, shift] : shifts_)
      if (!shift.relu.empty()) in_place_of[shift.relu] = shift.relu_from;
    std::unordered_set<const NodeProto*> relus;
    for (NodeProto& node : *graph_.mutable_node()) {
      if (node.output_size() > 0 && in_place_of.contains(node.output(0))) relus.insert(&node);
      for (std::string& input : *node.mutable_input())
        if (const auto found = in_place_of.find(input); found != in_place_of.end()) input = found->second;
    }
    erase_nodes(graph_, relus);
  }

  onnx::GraphProto& graph_;
  const Calibration& calibration_;
  const QuantizeOptions& options_;
  GraphIndex index_;
  LayerPlan plan_;
  QuantizeReport report_;
  std::unordered_map<std::string, Shift> shifts_;      // by tensor
  std::unordered_map<std::string, double> taken_off_;  // of those
  std::unordered_map<std::string, double> ranges_;
  std::unordered_map<std::string, Pair> pairs_;  // by the value that is quantised
  std::unordered_map<const NodeProto*, std::vector<NodeProto>> before_;
};

}  // namespace

std::vector<std::string> tensors_to_calibrate(const OnnxModel& model) { return plan_layers(model).tensors(); }

QuantizeReport insert_qdq(OnnxModel& model, const Calibration& calibration, const QuantizeOptions& options) {
  if (options.first_layer_bits != 7 && options.first_layer_bits != 8)
    throw Error(Stage::kUsage, "the first layer's bits",
                fmt::format("they are 7 or 8, not {}", options.first_layer_bits));
  QuantizeReport report = Inserter(model, calibration, options).run();
  model.check();
  return report;
}

}  // namespace ferry
