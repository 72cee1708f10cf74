// y = scale * (conv(x) - mean) / sqrt(variance + epsilon) + shift is a convolution again: its weights are multiplied by
// scale / sqrt(variance + epsilon), and its bias takes the rest. Computed in double, rounded once.
#include <fmt/format.h>

#include <cmath>
#include <unordered_map>

#include "ferry/error.h"
#include "onnx/graph_index.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

/// y = factor * x + shift, for each channel.
struct Affine {
  std::vector<double> factor, shift;
};

struct Fold {
  NodeProto* conv;
  NodeProto* norm;
};

bool is_vector(const TensorProto* tensor, std::int64_t size) {
  return tensor != nullptr && is_floating(tensor->data_type()) && tensor->dims_size() == 1 && tensor->dims(0) == size;
}

/// Is `norm` the only reader of a convolution, with every number known?
bool can_fold(const GraphIndex& index, const NodeProto& norm, const NodeProto* conv) {
  if (conv == nullptr || conv->op_type() != "Conv" || conv->input_size() < 2 || norm.input_size() != 5) return false;
  const std::string& between = norm.input(0);
  if (index.consumers(between).size() != 1 || index.is_output(between)) return false;
  if (int_attribute(norm, "training_mode", 0) != 0) return false;
  for (int i = 1; i < norm.output_size(); ++i)  // running statistics, before opset 14
    if (!norm.output(i).empty()) return false;
  const TensorProto* weight = index.weight(conv->input(1));
  if (weight == nullptr || !is_floating(weight->data_type()) || weight->dims_size() < 1 || weight->dims(0) < 1)
    return false;
  for (int i = 1; i < 5; ++i)
    if (!is_vector(index.weight(norm.input(i)), weight->dims(0))) return false;
  const bool has_bias = conv->input_size() > 2 && !conv->input(2).empty();
  return !has_bias || is_vector(index.weight(conv->input(2)), weight->dims(0));
}

Affine affine_of(const GraphIndex& index, const NodeProto& norm) {
  const auto numbers = [&](int input) { return doubles_of(*index.weight(norm.input(input))); };
  const std::vector<double> scale = numbers(1), shift = numbers(2), mean = numbers(3), variance = numbers(4);
  const double epsilon = static_cast<double>(float_attribute(norm, "epsilon", 1e-5f));
  Affine affine;
  for (std::size_t c = 0; c < scale.size(); ++c) {
    affine.factor.push_back(scale[c] / std::sqrt(variance[c] + epsilon));
    affine.shift.push_back(shift[c] - mean[c] * affine.factor[c]);
    if (!std::isfinite(affine.factor[c]) || !std::isfinite(affine.shift[c]))
      throw Error(Stage::kOnnx, describe(norm),
                  fmt::format("channel {} cannot be folded: scale {}, shift {}, mean {}, variance {}", c, scale[c],
                              shift[c], mean[c], variance[c]),
                  "The weights hold a NaN, an infinity or a negative variance: the checkpoint is damaged.");
  }
  return affine;
}

/// Multiplies row c by factor[c]; false if a product is no finite number.
bool scale_rows(std::span<float> values, const std::vector<double>& factor) {
  const std::size_t row = values.size() / factor.size();
  bool finite = true;
  for (std::size_t c = 0; c < factor.size(); ++c) {
    for (float& value : values.subspan(c * row, row)) {
      value = static_cast<float>(static_cast<double>(value) * factor[c]);
      finite &= std::isfinite(value);
    }
  }
  return finite;
}

void scale_rows(TensorProto& weight, const std::vector<double>& factor) {
  bool finite = true;
  if (weight.data_type() == TensorProto::FLOAT) {  // in place: nearly all of the work is here
    finite = scale_rows(floats_of(weight), factor);
  } else {
    std::vector<double> values = doubles_of(weight);
    const std::size_t row = values.size() / factor.size();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] *= factor[i / row];
    set_doubles(weight, values);
    for (const double value : doubles_of(weight)) finite &= std::isfinite(value);
  }
  if (!finite)
    throw Error(
        Stage::kOnnx, weight.name(),
        fmt::format("folding the batch norm into this {} tensor gives NaN or infinity", type_name(weight.data_type())),
        "The checkpoint is damaged, or its FP16 weights need FP32: keep the batch norm (--keep-batch-norm).");
}

/// "layer1.0.conv1.weight" -> "layer1.0.conv1.bias"
std::string bias_name(const GraphIndex& index, const NodeProto& conv) {
  std::string stem = conv.input(1);
  if (const std::size_t dot = stem.rfind(".weight"); dot != std::string::npos && dot + 7 == stem.size())
    stem.resize(dot);
  return index.unused_name(stem + ".bias");
}

class Folder {
 public:
  Folder(onnx::GraphProto& graph, const GraphIndex& index) : graph_(graph), index_(index) {}

  void fold(const Fold& fold) {
    const Affine affine = affine_of(index_, *fold.norm);
    TensorProto& weight = own_weight(*fold.conv, 1, ".weight");
    scale_rows(weight, affine.factor);
    const bool has_bias = fold.conv->input_size() > 2 && !fold.conv->input(2).empty();
    if (has_bias) {
      fold_bias(own_weight(*fold.conv, 2, ".bias"), affine);
    } else {
      add_bias(*fold.conv, weight.data_type(), affine.shift);
    }
    // The convolution now makes what the batch norm made. Its own value keeps its name, unless the model returns it.
    const std::string result = fold.norm->output(0);
    if (index_.is_output(result)) {
      fold.conv->set_output(0, result);
    } else {
      replace_uses(index_, result, fold.conv->output(0));
    }
  }

 private:
  /// The weight at that input, copied first if other nodes use it too.
  TensorProto& own_weight(NodeProto& conv, int input, const char* suffix) {
    TensorProto* shared = index_.weight(conv.input(input));
    if (index_.consumers(conv.input(input)).size() == 1) return *shared;
    TensorProto& copy = *graph_.add_initializer();
    copy = *shared;
    copy.set_name(index_.unused_name(conv.output(0) + suffix));
    conv.set_input(input, copy.name());
    return copy;
  }

  static void fold_bias(TensorProto& bias, const Affine& affine) {
    std::vector<double> values = doubles_of(bias);
    for (std::size_t c = 0; c < values.size(); ++c) values[c] = values[c] * affine.factor[c] + affine.shift[c];
    set_doubles(bias, values);
  }

  void add_bias(NodeProto& conv, int type, const std::vector<double>& values) {
    TensorProto& bias = *graph_.add_initializer();
    bias.set_name(bias_name(index_, conv));
    bias.set_data_type(type);
    bias.add_dims(static_cast<std::int64_t>(values.size()));
    bias.mutable_raw_data()->resize(values.size() * element_size(type));
    set_doubles(bias, values);
    while (conv.input_size() < 3) conv.add_input();
    conv.set_input(2, bias.name());
  }

  onnx::GraphProto& graph_;
  const GraphIndex& index_;
};

}  // namespace

int fold_batch_norm(OnnxModel& model) {
  onnx::GraphProto& graph = *model.impl().proto.mutable_graph();
  const GraphIndex index(graph);
  std::vector<Fold> folds;
  for (NodeProto& node : *graph.mutable_node()) {
    if (node.op_type() != "BatchNormalization" || node.input_size() == 0) continue;
    NodeProto* conv = index.producer(node.input(0));
    if (can_fold(index, node, conv)) folds.push_back({conv, &node});
  }
  Folder folder(graph, index);
  std::unordered_set<const NodeProto*> gone;
  for (const Fold& fold : folds) {
    folder.fold(fold);
    gone.insert(fold.norm);
  }
  erase_nodes(graph, gone);
  erase_unused(graph);
  return static_cast<int>(folds.size());
}

}  // namespace ferry
