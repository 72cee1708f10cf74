// The part of a form that changes weights: see form.h.
#include <fmt/format.h>

#include <algorithm>

#include "ferry/error.h"
#include "ferry/form.h"
#include "onnx/form/channels.h"
#include "onnx/form/nodes.h"
#include "onnx/graph_index.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

using onnx::GraphProto;
using onnx::NodeProto;
using onnx::TensorProto;

/// The convolution that alone reads the picture, with weights of its own; nullptr if there is none.
NodeProto* first_conv(const GraphProto& graph, const GraphIndex& index) {
  const std::vector<NodeProto*>& readers = index.consumers(graph.input(0).name());
  if (readers.size() != 1 || readers[0]->op_type() != "Conv" || readers[0]->input_size() < 2) return nullptr;
  const std::string& name = readers[0]->input(1);
  const TensorProto* weight = index.weight(name);
  const bool usable = weight != nullptr && is_floating(weight->data_type()) && weight->dims_size() == 4 &&
                      index.consumers(name).size() == 1 && int_attribute(*readers[0], "group", 1) == 1;
  return usable ? readers[0] : nullptr;
}

/// Multiplies what belongs to input channel c by factor[c]; weight is [out, c, kh, kw].
void scale_columns(TensorProto& weight, const std::vector<double>& factor) {
  std::vector<double> values = doubles_of(weight);
  const auto window = static_cast<std::size_t>(weight.dims(2) * weight.dims(3));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] *= factor[i / window % factor.size()];
  set_doubles(weight, values);
}

/// input -> Mul -> whoever read the input.
void multiply_input(GraphProto& graph, const std::vector<double>& factor) {
  const GraphIndex index(graph);
  const std::string input = graph.input(0).name(), name = index.unused_name(input + ".scaled");
  const std::string constant = index.unused_name(name + ".factor");
  replace_uses(index, input, name);
  *graph.add_initializer() = per_channel(constant, factor, graph.input(0).type().tensor_type().elem_type());
  append_node(graph, "Mul", name, {input, constant});
  move_to_front(graph, 1);
}

void fold_std(GraphProto& graph, const GraphForm& form) {
  std::vector<double> factor;
  for (const float std : channel_values(graph, form).std) factor.push_back(1 / (255 * static_cast<double>(std)));
  const GraphIndex index(graph);
  if (const NodeProto* conv = first_conv(graph, index)) {
    scale_columns(*index.weight(conv->input(1)), factor);
  } else {
    multiply_input(graph, factor);
  }
}

/// [out, c, kh, kw] -> [out, wanted, kh, kw], zeros behind.
void widen(TensorProto& weight, std::int64_t wanted) {
  const std::vector<double> old = doubles_of(weight);
  const auto out = static_cast<std::size_t>(weight.dims(0));
  const auto window = static_cast<std::size_t>(weight.dims(2) * weight.dims(3));
  const std::size_t row = static_cast<std::size_t>(weight.dims(1)) * window,
                    new_row = static_cast<std::size_t>(wanted) * window;
  std::vector<double> values(out * new_row, 0);
  for (std::size_t o = 0; o < out; ++o)
    std::copy_n(old.begin() + static_cast<std::ptrdiff_t>(o * row), row,
                values.begin() + static_cast<std::ptrdiff_t>(o * new_row));
  weight.set_dims(1, wanted);
  weight.mutable_raw_data()->resize(values.size() * element_size(weight.data_type()));
  set_doubles(weight, values);
}

void pad_channels(GraphProto& graph, std::int64_t wanted) {
  const GraphIndex index(graph);
  const NodeProto* conv = first_conv(graph, index);
  const std::string input = graph.input(0).name();
  if (conv == nullptr)
    throw Error(Stage::kOnnx, input, "no convolution alone reads the picture: its channels cannot be padded",
                "Leave --pad-channels out.");
  TensorProto& weight = *index.weight(conv->input(1));
  const std::int64_t has = weight.dims(1);
  if (wanted <= has)
    throw Error(Stage::kUsage, "--pad-channels",
                fmt::format("the picture has {} channels: {} are no padding", has, wanted));
  widen(weight, wanted);
  const std::string name = index.unused_name(input + ".padded"), pads = index.unused_name(name + ".pads");
  replace_uses(index, input, name);
  *graph.add_initializer() = make_int64s(pads, {0, 0, 0, 0, 0, wanted - has, 0, 0});
  append_node(graph, "Pad", name, {input, pads});
  move_to_front(graph, 1);
}

/// GlobalAveragePool -> Flatten -> Gemm with the matrix [classes, features].
struct Classifier {
  NodeProto *flatten, *gemm;
  TensorProto *matrix, *bias;
};

Classifier classifier_of(const GraphProto& graph, const GraphIndex& index) {
  NodeProto* gemm = index.producer(graph.output(0).name());
  NodeProto* flatten = gemm != nullptr && gemm->op_type() == "Gemm" ? index.producer(gemm->input(0)) : nullptr;
  const NodeProto* pool =
      flatten != nullptr && flatten->op_type() == "Flatten" ? index.producer(flatten->input(0)) : nullptr;
  const bool plain = pool != nullptr && pool->op_type() == "GlobalAveragePool" &&
                     int_attribute(*flatten, "axis", 1) == 1 && index.consumers(flatten->output(0)).size() == 1 &&
                     gemm->input_size() == 3 && int_attribute(*gemm, "transB", 0) == 1 &&
                     int_attribute(*gemm, "transA", 0) == 0 && float_attribute(*gemm, "alpha", 1) == 1 &&
                     float_attribute(*gemm, "beta", 1) == 1;
  Classifier found{flatten, gemm, nullptr, nullptr};
  if (plain) found.matrix = index.weight(gemm->input(1));
  if (plain) found.bias = index.weight(gemm->input(2));
  const bool usable = found.matrix != nullptr && found.bias != nullptr && found.matrix->dims_size() == 2 &&
                      found.bias->dims_size() == 1 && index.consumers(found.matrix->name()).size() == 1;
  if (!usable)
    throw Error(Stage::kOnnx, graph.output(0).name(),
                "the graph does not end in GlobalAveragePool, Flatten and Gemm: its classifier cannot be a convolution",
                "Leave --conv-classifier out.");
  return found;
}

/// pool -> Conv 1x1 -> Flatten: the same products and sums.
void make_conv_classifier(GraphProto& graph) {
  const GraphIndex index(graph);
  const Classifier c = classifier_of(graph, index);
  c.matrix->add_dims(1);
  c.matrix->add_dims(1);
  const std::string pooled = c.flatten->input(0), result = c.gemm->output(0);
  NodeProto conv;
  conv.set_op_type("Conv");
  conv.set_name(c.gemm->name());
  for (const std::string& input : {pooled, c.matrix->name(), c.bias->name()}) conv.add_input(input);
  conv.add_output(index.unused_name(result + ".conv"));
  set_attribute(conv, "kernel_shape", {1, 1});
  NodeProto flatten = *c.flatten;
  flatten.set_input(0, conv.output(0));
  flatten.set_output(0, result);
  *c.flatten = conv;  // in the places where they were: the order of execution stays
  *c.gemm = flatten;
}

}  // namespace

void fold_form(OnnxModel& model, const GraphForm& form) {
  GraphProto& graph = *model.impl().proto.mutable_graph();
  if (form.input != InputForm::kFloat) fold_std(graph, form);
  if (form.pad_channels > 0) pad_channels(graph, form.pad_channels);
  if (form.conv_classifier) make_conv_classifier(graph);
}

}  // namespace ferry
