// prepare_foreign: the steps are in steps.h.
#include <fmt/format.h>

#include <unordered_set>

#include "ferry/error.h"
#include "onnx/foreign/steps.h"
#include "onnx/graph_index.h"
#include "onnx/model_impl.h"

namespace ferry {

void refuse_strange_parts(const onnx::ModelProto& model) {
  std::unordered_set<std::string> functions;
  for (const auto& function : model.functions()) functions.insert(function.domain() + ":" + function.name());
  for (const onnx::NodeProto& node : model.graph().node()) {
    if (functions.contains(node.domain() + ":" + node.op_type()))
      throw Error(Stage::kOnnx, describe(node), "functions inside the model are not supported",
                  "Export with a newer PyTorch, or with torch.onnx.export(..., dynamo=False, opset_version=17).");
    if (!node.domain().empty() && node.domain() != "ai.onnx")
      throw Error(Stage::kOnnx, describe(node),
                  fmt::format("operators of '{}' do not belong to ONNX and run in one runtime only", node.domain()),
                  "Export the model without optimisation for a certain runtime.");
    for (const auto& attribute : node.attribute())
      if (attribute.has_g() || attribute.graphs_size() > 0)
        throw Error(Stage::kOnnx, describe(node), "control flow (a graph inside a node) is not supported",
                    "Export the model in evaluation mode, with a fixed way through it.");
  }
  if (model.graph().sparse_initializer_size() > 0)
    throw Error(Stage::kOnnx, model.graph().sparse_initializer(0).values().name(), "sparse weights are not supported",
                "Export dense weights.");
}

void name_nodes(onnx::GraphProto& graph, Changes& changes) {
  std::unordered_set<std::string> taken;
  int named = 0;
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    const bool good = !node.name().empty() && taken.insert(node.name()).second;
    if (good) continue;
    std::string name = node.name().empty() ? node.op_type() + "_" + node.output(0) : node.name() + "_2";
    for (int i = 3; !taken.insert(name).second; ++i) name = fmt::format("{}_{}", node.op_type(), i);
    node.set_name(name);
    ++named;
  }
  if (named > 0) changes.push_back(fmt::format("gave {} nodes a name of their own", named));
}

ImportReport prepare_foreign(OnnxModel& model) {
  onnx::ModelProto& proto = model.impl().proto;
  onnx::GraphProto& graph = *proto.mutable_graph();
  ImportReport report;
  refuse_strange_parts(proto);
  proto.clear_functions();
  proto.DiscardUnknownFields();  // notes of newer exporters, which the version that we write does not have
  fold_constants(graph, report.changes);
  convert_opset(proto, report.changes);
  check_nodes(proto, model.impl().name);
  settle_ports(graph, report.changes);
  free_batch(proto, model.impl().name, report.changes);
  erase_dead_nodes(graph);
  name_nodes(graph, report.changes);
  proto.set_ir_version(kOnnxIrVersion);
  model.check();
  return report;
}

}  // namespace ferry
