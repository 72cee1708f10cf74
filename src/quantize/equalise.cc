// Equalisation across layers (Nagel et al. 2019, "Data-free quantization", with measured activations, and the trade-off
// between activations and weights of Xiao et al. 2023, "SmoothQuant").
//
// A positive factor a channel passes through relu, addition and pooling. So all tensors between some convolutions that
// write them and some that read them form a group that can share factors s: writers' output channels are divided by s,
// readers' input channels multiplied. One group is what lies between two convolutions of a block; another is the whole
// residual stream of a stage.
#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "ferry/error.h"
#include "ferry/quantize.h"
#include "onnx/graph_index.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"
#include "quantize/channels.h"
#include "quantize/layers.h"

namespace ferry {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

// Operators that f(s x) = s f(x) holds for, channel by channel.
bool lets_factors_through(const NodeProto& node) {
  static const std::set<std::string> kOps{"Relu", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity"};
  return kOps.contains(node.op_type());
}

struct Group {
  bool allowed = true;
  std::vector<std::string> tensors;  // quantised ones, with statistics
  std::vector<const QuantizedLayer*> writers, readers;
};

class UnionFind {
 public:
  std::string root(const std::string& name) {
    const auto found = parent_.emplace(name, name).first;
    if (found->second == name) return name;
    return found->second = root(found->second);
  }
  void join(const std::string& a, const std::string& b) { parent_[root(a)] = root(b); }

 private:
  std::unordered_map<std::string, std::string> parent_;
};

class Equaliser {
 public:
  Equaliser(OnnxModel& model, const Calibration& calibration)
      : graph_(*model.impl().proto.mutable_graph()),
        calibration_(calibration),
        index_(graph_),
        plan_(plan_layers(model)) {}

  std::vector<EqualisedGroup> run() {
    find_groups();
    std::vector<EqualisedGroup> changed;
    for (auto& [root, group] : groups_) {
      if (!group.allowed || !consistent(group)) continue;
      EqualisedGroup best = search(group);
      if (!(best.noise_after < best.noise_before * 0.99)) continue;  // not worth a change
      best.factors = factors(group, best.activation_power, best.weight_power);
      apply(group, best.factors);
      changed.push_back(std::move(best));
    }
    return changed;
  }

 private:
  void find_groups() {
    std::unordered_map<int, const QuantizedLayer*> layer_at;
    for (const QuantizedLayer& layer : plan_.layers) layer_at[layer.index] = &layer;
    for (int n = 0; n < graph_.node_size(); ++n)
      if (const NodeProto& node = graph_.node(n); !layer_at.contains(n) && joins(node))
        for (const std::string& input : node.input()) sets_.join(input, node.output(0));
    for (int n = 0; n < graph_.node_size(); ++n) {
      const NodeProto& node = graph_.node(n);
      if (const auto layer = layer_at.find(n); layer != layer_at.end()) {
        Group& written = groups_[sets_.root(node.output(0))];
        if (can_scale_output(node))
          written.writers.push_back(layer->second);
        else
          written.allowed = false;
        groups_[sets_.root(node.input(0))].readers.push_back(layer->second);
      } else if (!joins(node)) {
        for (const std::string& input : node.input()) groups_[sets_.root(input)].allowed = false;
        for (const std::string& output : node.output()) groups_[sets_.root(output)].allowed = false;
      }
    }
    for (const auto& input : graph_.input()) groups_[sets_.root(input.name())].allowed = false;
    for (const auto& output : graph_.output()) groups_[sets_.root(output.name())].allowed = false;
    for (const std::string& tensor : plan_.tensors())
      if (calibration_.tensors.contains(tensor)) groups_[sets_.root(tensor)].tensors.push_back(tensor);
  }

  bool joins(const NodeProto& node) const {
    for (const std::string& input : node.input())
      if (index_.weight(input) != nullptr) return false;
    if (node.op_type() == "Flatten") {  // of what a global pooling left
      const NodeProto* producer = index_.producer(node.input(0));
      return producer != nullptr && producer->op_type() == "GlobalAveragePool" && int_attribute(node, "axis", 1) == 1;
    }
    return lets_factors_through(node);
  }

  // Something to scale on both sides, the same channels everywhere, and no weight that others read too.
  bool consistent(const Group& group) const {
    if (group.writers.empty() || group.readers.empty() || group.tensors.empty()) return false;
    const std::size_t channels = statistics(group.tensors.front()).channel_max.size();
    for (const std::string& tensor : group.tensors)
      if (statistics(tensor).channel_max.size() != channels) return false;
    for (const QuantizedLayer* layer : group.writers)
      if (index_.weight(layer->weight)->dims(0) != static_cast<std::int64_t>(channels)) return false;
    for (const QuantizedLayer* layer : group.readers) {
      const TensorProto& weight = *index_.weight(layer->weight);
      if (index_.consumers(layer->weight).size() != 1 || !calibration_.tensors.contains(layer->input) ||
          input_channels(weight, groups_of(*layer), layer->channel_axis) != static_cast<std::int64_t>(channels))
        return false;
    }
    return true;
  }

  // Every reader of a weight must be this one node; a bias, if any, a constant vector.
  bool can_scale_output(const NodeProto& node) const {
    if (node.op_type() != "Conv" || index_.consumers(node.input(1)).size() != 1) return false;
    if (node.input_size() < 3 || node.input(2).empty()) return true;
    const TensorProto* bias = index_.weight(node.input(2));
    return bias != nullptr && bias->data_type() == TensorProto::FLOAT && index_.consumers(node.input(2)).size() == 1;
  }

  const TensorStatistics& statistics(const std::string& tensor) const { return calibration_.tensors.at(tensor); }
  const NodeProto& node(const QuantizedLayer& layer) const { return graph_.node(layer.index); }
  std::int64_t groups_of(const QuantizedLayer& layer) const { return int_attribute(node(layer), "group", 1); }

  // How large each channel gets, over the tensors of the group and over the weights that read it.
  std::vector<double> activation_size(const Group& group) const {
    std::vector<double> size;
    for (const std::string& tensor : group.tensors) {
      const auto& channels = statistics(tensor).channel_max;
      size.resize(channels.size(), 0.0);
      for (std::size_t c = 0; c < channels.size(); ++c) size[c] = std::max<double>(size[c], channels[c]);
    }
    return size;
  }
  std::vector<double> weight_size(const Group& group, std::size_t channels) const {
    std::vector<double> size(channels, 0.0);
    for (const QuantizedLayer* layer : group.readers) {
      const TensorProto& weight = *index_.weight(layer->weight);
      const auto values = floats_of(weight);
      for_each_weight(weight, groups_of(*layer), layer->channel_axis,
                      [&](auto, auto i, auto e) { size[i] = std::max<double>(size[i], std::fabs(values[e])); });
    }
    return size;
  }

  // s = activation^a / weight^b, around a geometric mean of 1; 1 for channels that are dead or unread.
  std::vector<double> factors(const Group& group, double a, double b) const {
    std::vector<double> factor = activation_size(group);
    const std::vector<double> weight = weight_size(group, factor.size());
    double logs = 0;
    std::size_t live = 0;
    for (std::size_t c = 0; c < factor.size(); ++c) {
      const bool dead = !(factor[c] > 0) || !(weight[c] > 0);
      factor[c] = dead ? 0 : std::pow(factor[c], a) / std::pow(weight[c], b);
      if (!dead) logs += std::log(factor[c]), ++live;
    }
    const double mean = live ? std::exp(logs / static_cast<double>(live)) : 1;
    for (double& s : factor) s = s > 0 ? std::clamp(s / mean, 1.0 / 256, 256.0) : 1;
    return factor;
  }

  // Noise over signal, summed over the readers (and additions) of the group, if its channels were divided by s.
  double noise(const Group& group, const std::vector<double>& s) const {
    double total = 0;
    for (const QuantizedLayer* layer : group.readers) total += reader_noise(*layer, s);
    for (const QuantizedLayer& layer : plan_.layers)
      for (const std::string& added : {layer.residual, layer.pooled})
        if (std::find(group.tensors.begin(), group.tensors.end(), added) != group.tensors.end())
          total += rounding_noise(statistics(added), s);
    return total;
  }

  // Of a tensor that no weight reads: of an addition or a pooling.
  static double rounding_noise(const TensorStatistics& t, const std::vector<double>& s) {
    const double step = step_of(t, s);
    double error = 0, signal = 0;
    for (std::size_t c = 0; c < s.size(); ++c) error += s[c] * s[c], signal += t.channel_power[c];
    return signal > 0 ? step * step / 12 * error / signal : 0;
  }

  static double step_of(const TensorStatistics& t, const std::vector<double>& s) {
    double largest = 0;
    for (std::size_t c = 0; c < s.size(); ++c) largest = std::max(largest, t.channel_max[c] / s[c]);
    return largest / 127;
  }

  double reader_noise(const QuantizedLayer& layer, const std::vector<double>& s) const {
    const TensorStatistics& input = statistics(layer.input);
    const TensorProto& weight = *index_.weight(layer.weight);
    const auto values = floats_of(weight);
    const double step = step_of(input, s);
    const std::size_t outputs = static_cast<std::size_t>(weight.dims(layer.channel_axis));
    std::vector<double> largest(outputs), power(outputs);
    double rounding = 0, signal = 0;
    for_each_weight(weight, groups_of(layer), layer.channel_axis, [&](auto o, auto i, auto e) {
      const double w = values[e], scaled = std::fabs(w) * s[i];
      largest[o] = std::max(largest[o], scaled);
      power[o] += input.channel_power[i] / (s[i] * s[i]);
      rounding += scaled * scaled;
      signal += w * w * input.channel_power[i];
    });
    double error = step * step / 12 * rounding;
    for (std::size_t o = 0; o < outputs; ++o) error += largest[o] * largest[o] / (127.0 * 127.0 * 12) * power[o];
    return signal > 0 ? error / signal : 0;
  }

  EqualisedGroup search(const Group& group) const {
    EqualisedGroup best;
    best.tensors = group.tensors;
    best.noise_before = best.noise_after = noise(group, std::vector<double>(activation_size(group).size(), 1.0));
    for (const double a : {0.25, 0.5, 0.75, 1.0})
      for (const double b : {0.0, 0.25, 0.5}) {
        const double after = noise(group, factors(group, a, b));
        if (after < best.noise_after) best.noise_after = after, best.activation_power = a, best.weight_power = b;
      }
    return best;
  }

  void apply(const Group& group, const std::vector<double>& s) {
    for (const QuantizedLayer* layer : group.writers) {
      scale_by_output(*index_.weight(layer->weight), s);
      if (node(*layer).input_size() > 2 && !node(*layer).input(2).empty())
        scale_by_output(*index_.weight(node(*layer).input(2)), s);
    }
    for (const QuantizedLayer* layer : group.readers) {
      TensorProto& weight = *index_.weight(layer->weight);
      const auto values = floats_of(weight);
      for_each_weight(weight, groups_of(*layer), layer->channel_axis,
                      [&](auto, auto i, auto e) { values[e] = static_cast<float>(values[e] * s[i]); });
    }
  }

  static void scale_by_output(TensorProto& tensor, const std::vector<double>& s) {
    const auto values = floats_of(tensor);
    const std::size_t row = values.size() / s.size();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(values[i] / s[i / row]);
  }

  onnx::GraphProto& graph_;
  const Calibration& calibration_;
  GraphIndex index_;
  LayerPlan plan_;
  UnionFind sets_;
  std::map<std::string, Group> groups_;
};

}  // namespace

std::vector<EqualisedGroup> equalise(OnnxModel& model, const Calibration& calibration) {
  return Equaliser(model, calibration).run();
}

}  // namespace ferry
