#include "quantize/half.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "ferry/tensor.h"
#include "onnx/graph_index.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

constexpr float kLargestHalf = 65504;

bool fits(const TensorProto* weight) {
  if (weight == nullptr || weight->data_type() != TensorProto::FLOAT) return false;
  const auto values = floats_of(*weight);
  return std::all_of(values.begin(), values.end(), [](float x) { return std::fabs(x) <= kLargestHalf; });
}

// A copy, because others may read the float32 one.
std::string half_copy(onnx::GraphProto& graph, const GraphIndex& index, const TensorProto& weight) {
  const std::string name = index.unused_name(weight.name() + ".fp16");
  const Tensor half =
      convert({DType::kFloat32, shape_of(weight), reinterpret_cast<const std::byte*>(weight.raw_data().data())},
              DType::kFloat16);
  *graph.add_initializer() = make_tensor(name, half.view());
  return name;
}

bool can_be_half(const GraphIndex& index, const NodeProto& node) {
  for (int i = 1; i < node.input_size(); ++i)
    if (!node.input(i).empty() && !fits(index.weight(node.input(i)))) return false;
  return true;
}

}  // namespace

std::vector<std::string> keep_in_half(onnx::GraphProto& graph, const std::vector<std::string>& nodes) {
  const GraphIndex index(graph);
  std::vector<std::string> changed;
  google::protobuf::RepeatedPtrField<NodeProto> old;
  std::unordered_map<std::string, std::string> halves;  // of weights that several nodes read
  old.Swap(graph.mutable_node());
  for (NodeProto& node : old) {
    const std::string id = node.name().empty() ? node.output(0) : node.name();
    if (std::find(nodes.begin(), nodes.end(), id) == nodes.end() || !can_be_half(index, node)) {
      graph.add_node()->Swap(&node);
      continue;
    }
    const std::string input = index.unused_name(id + ".input_fp16"), output = index.unused_name(id + ".output_fp16");
    *graph.add_node() = make_cast(node.input(0), input, TensorProto::FLOAT16);
    const std::string result = node.output(0);
    node.set_input(0, input);
    node.set_output(0, output);
    for (int i = 1; i < node.input_size(); ++i) {
      if (node.input(i).empty()) continue;
      std::string& half = halves[node.input(i)];
      if (half.empty()) half = half_copy(graph, index, *index.weight(node.input(i)));
      node.set_input(i, half);
    }
    graph.add_node()->Swap(&node);
    *graph.add_node() = make_cast(output, result, TensorProto::FLOAT);
    changed.push_back(id);
  }
  return changed;
}

}  // namespace ferry
