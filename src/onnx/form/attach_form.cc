// The part of a form that changes ports: see form.h.
#include <fmt/format.h>

#include "ferry/error.h"
#include "ferry/form.h"
#include "onnx/form/channels.h"
#include "onnx/form/nodes.h"
#include "onnx/graph_index.h"
#include "onnx/graph_writer.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

using onnx::GraphProto;
using onnx::TensorProto;

void set_metadata(onnx::ModelProto& model, const std::string& key, const std::string& value) {
  for (auto& entry : *model.mutable_metadata_props())
    if (entry.key() == key) return entry.set_value(value);
  auto& entry = *model.add_metadata_props();
  entry.set_key(key);
  entry.set_value(value);
}

/// uint8 -> Cast -> Transpose (NHWC) -> minus 255 mean -> what read the float picture. The Cast comes first: some
/// engines take uint8 there and nowhere else.
void attach_pixels(GraphProto& graph, GraphForm& form) {
  const ChannelValues values = channel_values(graph, form);
  form.mean = values.mean;
  form.std = values.std;
  std::vector<double> offset;
  for (const float mean : values.mean) offset.push_back(255 * static_cast<double>(mean));
  const GraphIndex index(graph);
  auto& input = *graph.mutable_input(0);
  const std::string name = input.name();
  std::string x = index.unused_name(name + ".float"), centred = index.unused_name(name + ".centred");
  const std::string constant = index.unused_name(name + ".mean");
  replace_uses(index, name, centred);
  int added = 2;
  set_attribute(append_node(graph, "Cast", x, {name}), "to", static_cast<std::int64_t>(TensorProto::FLOAT));
  if (form.input == InputForm::kUint8Nhwc) {
    const std::string turned = index.unused_name(name + ".nchw");
    set_attribute(append_node(graph, "Transpose", turned, {x}), "perm", std::vector<std::int64_t>{0, 3, 1, 2});
    x = turned;
    ++added;
  }
  *graph.add_initializer() = per_channel(constant, offset, TensorProto::FLOAT);
  append_node(graph, "Sub", centred, {x, constant});
  move_to_front(graph, added);
  const auto& dims = input.type().tensor_type().shape();
  const std::int64_t c = dims.dim(1).dim_value(), h = dims.dim(2).dim_value(), w = dims.dim(3).dim_value();
  const bool last = form.input == InputForm::kUint8Nhwc;
  set_value(input, name, TensorProto::UINT8, last ? Shape{-1, h, w, c} : Shape{-1, c, h, w});
}

/// Ranks by the scores themselves: probabilities of unlikely classes underflow to equal zeros.
void attach_top_k(GraphProto& graph, GraphForm& form) {
  const onnx::ValueInfoProto scores = graph.output(0);
  const auto& type = scores.type().tensor_type();
  const std::int64_t classes = type.shape().dim_size() == 2 ? type.shape().dim(1).dim_value() : 0;
  if (classes < form.top_k)
    throw Error(Stage::kUsage, "--top-k",
                classes > 0 ? fmt::format("the network has {} classes: {} cannot be chosen", classes, form.top_k)
                            : "the network's output is not [N, classes]");
  form.classes = static_cast<int>(classes);
  const GraphIndex index(graph);
  const auto named = [&](const std::string& name) { return index.unused_name(name); };
  std::string x = scores.name();
  if (type.elem_type() != TensorProto::FLOAT) {
    const std::string wide = named(x + ".fp32");
    set_attribute(append_node(graph, "Cast", wide, {x}), "to", static_cast<std::int64_t>(TensorProto::FLOAT));
    x = wide;
  }
  const std::string count = named("topk.k"), best = named("topk"), indices = named("topk.indices"),
                    softmax = named("softmax"), probabilities = named("probabilities"), chosen = named("classes");
  *graph.add_initializer() = make_int64s(count, {form.top_k});
  onnx::NodeProto& top = append_node(graph, "TopK", best, {x, count});
  top.add_output(indices);
  set_attribute(top, "axis", std::int64_t{1});
  set_attribute(append_node(graph, "Softmax", softmax, {x}), "axis", std::int64_t{1});
  set_attribute(append_node(graph, "GatherElements", probabilities, {softmax, indices}), "axis", std::int64_t{1});
  set_attribute(append_node(graph, "Cast", chosen, {indices}), "to", static_cast<std::int64_t>(TensorProto::INT32));
  set_value(*graph.mutable_output(0), probabilities, TensorProto::FLOAT, {-1, form.top_k});
  set_value(*graph.add_output(), chosen, TensorProto::INT32, {-1, form.top_k});
}

}  // namespace

void attach_form(OnnxModel& model, const GraphForm& wanted) {
  if (is_default(wanted)) return;
  onnx::ModelProto& proto = model.impl().proto;
  GraphForm form = wanted;
  if (form.input != InputForm::kFloat) attach_pixels(*proto.mutable_graph(), form);
  if (form.top_k > 0) attach_top_k(*proto.mutable_graph(), form);
  set_metadata(proto, "ferry.form", to_json(form));
}

}  // namespace ferry
