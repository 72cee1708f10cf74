#include "quantize/layers.h"

#include <algorithm>
#include <unordered_map>

#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

bool is_weighted(const NodeProto& node) {
  return node.op_type() == "Conv" || node.op_type() == "Gemm" || node.op_type() == "MatMul" ||
         node.op_type() == "ConvTranspose";
}

// Foreign models may leave nodes unnamed; values always have names.
const std::string& id_of(const NodeProto& node) { return node.name().empty() ? node.output(0) : node.name(); }

// Empty: it can be quantised.
std::string why_not(const GraphIndex& index, const NodeProto& node) {
  if (node.op_type() == "ConvTranspose") return "transposed convolutions are not quantised";
  const TensorProto* weight = node.input_size() > 1 ? index.weight(node.input(1)) : nullptr;
  if (weight == nullptr) return "its weight is not a constant";
  if (weight->data_type() != TensorProto::FLOAT) return "its weight is not float32";
  if (index.weight(node.input(0)) != nullptr) return "its input is a constant";
  if (node.op_type() == "Gemm" && (int_attribute(node, "transA", 0) != 0 || float_attribute(node, "alpha", 1) != 1))
    return "its input is transposed or scaled";
  if (node.op_type() != "Conv" && weight->dims_size() != 2) return "its weight is not a matrix";
  return {};
}

std::vector<std::int64_t> axes_of(const NodeProto& node) {
  for (const auto& attribute : node.attribute())
    if (attribute.name() == "axes") return {attribute.ints().begin(), attribute.ints().end()};
  return {};
}

int channel_axis(const NodeProto& node) {
  if (node.op_type() == "Conv") return 0;
  if (node.op_type() == "MatMul") return 1;
  return int_attribute(node, "transB", 0) != 0 ? 0 : 1;
}

class Planner {
 public:
  Planner(const OnnxModel& model, const std::set<std::string>& keep)
      : graph_(const_cast<onnx::GraphProto&>(model.impl().proto.graph())), index_(graph_), keep_(keep) {}

  LayerPlan plan() {
    for (int n = 0; n < graph_.node_size(); ++n) {
      const NodeProto& node = graph_.node(n);
      if (!is_weighted(node)) continue;
      const std::string reason = why_not(index_, node);
      if (!reason.empty()) {
        plan_.kept.push_back({id_of(node), node.op_type(), reason});
        continue;
      }
      layer_of_[node.output(0)] = plan_.layers.size();
      plan_.layers.push_back(
          {n, id_of(node), node.op_type(), node.input(0), node.input(1), channel_axis(node), takes_bias(node), {}, {}});
    }
    for (const NodeProto& node : graph_.node())
      if (node.op_type() == "Add" && node.input_size() == 2) find_residual(node);
    for (const NodeProto& node : graph_.node())
      if (is_global_average(node)) find_writer(node.input(0));
    leave_out_kept();
    return std::move(plan_);
  }

 private:
  // Last, so that the tensors of the others are the same whatever is kept: a calibration fits every choice.
  void leave_out_kept() {
    std::erase_if(plan_.layers, [this](const QuantizedLayer& layer) {
      if (!keep_.contains(layer.node)) return false;
      plan_.kept.push_back({layer.node, layer.op, "as asked"});
      return true;
    });
  }

  bool takes_bias(const NodeProto& node) const {
    if (node.op_type() == "MatMul") return false;
    if (node.input_size() < 3 || node.input(2).empty()) return true;
    const TensorProto* bias = index_.weight(node.input(2));
    return bias != nullptr && bias->data_type() == TensorProto::FLOAT &&
           element_count(shape_of(*bias)) == index_.weight(node.input(1))->dims(channel_axis(node)) &&
           float_attribute(node, "beta", 1) == 1;
  }

  // A quantised convolution that only this addition reads can swallow it.
  bool fuses(const std::string& value) const {
    return layer_of_.contains(value) && plan_.layers[layer_of_.at(value)].op == "Conv" &&
           index_.consumers(value).size() == 1 && !index_.is_output(value);
  }

  void find_residual(const NodeProto& add) {
    const std::string &a = add.input(0), &b = add.input(1);
    if (index_.weight(a) || index_.weight(b) || a == b) return;
    if (!fuses(a) && !fuses(b)) return;
    // With two convolutions the one that is reached over more of them is the main branch.
    const bool a_is_main = fuses(a) && (!fuses(b) || depth(a) >= depth(b));
    plan_.layers[layer_of_.at(a_is_main ? a : b)].residual = a_is_main ? b : a;
  }

  // Without Q/DQ in front of the pooling the last convolution of the network would write float.
  void find_writer(const std::string& pooled) {
    const NodeProto* node = index_.producer(pooled);
    while (node != nullptr && node->op_type() == "Relu") node = index_.producer(node->input(0));
    if (node == nullptr) return;
    for (const std::string& value : node->op_type() == "Add" ? std::vector<std::string>{node->input(0), node->input(1)}
                                                             : std::vector<std::string>{node->output(0)}) {
      const auto layer = layer_of_.find(value);
      if (layer == layer_of_.end() || (node->op_type() == "Add" && plan_.layers[layer->second].residual.empty()))
        continue;
      plan_.layers[layer->second].pooled = pooled;
      return;
    }
  }

  // Convolutions on the way back to a value that more than one node reads.
  int depth(const std::string& value) const {
    int convolutions = 0;
    for (const NodeProto* node = index_.producer(value); node != nullptr && node->input_size() > 0;
         node = index_.producer(node->input(0))) {
      convolutions += node->op_type() == "Conv";
      if (index_.consumers(node->input(0)).size() > 1) break;
    }
    return convolutions;
  }

  onnx::GraphProto& graph_;
  GraphIndex index_;
  const std::set<std::string>& keep_;
  std::unordered_map<std::string, std::size_t> layer_of_;
  LayerPlan plan_;
};

}  // namespace

std::vector<std::string> LayerPlan::tensors() const {
  std::vector<std::string> names;
  const auto take = [&](const std::string& name) {
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const QuantizedLayer& layer : layers) {
    take(layer.input);
    take(layer.residual);
    take(layer.pooled);
  }
  return names;
}

bool is_global_average(const NodeProto& node) {
  if (node.op_type() == "GlobalAveragePool") return true;
  const std::vector<std::int64_t> axes = axes_of(node);
  return node.op_type() == "ReduceMean" &&
         (axes == std::vector<std::int64_t>{2, 3} || axes == std::vector<std::int64_t>{-2, -1} ||
          axes == std::vector<std::int64_t>{-1, -2});
}

LayerPlan plan_layers(const OnnxModel& model, const std::set<std::string>& keep) { return Planner(model, keep).plan(); }

}  // namespace ferry
