// OnnxModel::check: our own look at the structure and the weights, then libonnx's checker and full shape inference.
#include <fmt/format.h>
#include <onnx/checker.h>

#include <exception>
#include <unordered_set>

#include "ferry/error.h"
#include "onnx/graph_index.h"
#include "onnx/infer_types.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

using onnx::NodeProto;

void check_weights(const onnx::ModelProto& model, const std::string& name) {
  std::unordered_set<std::string> seen;
  for (const onnx::TensorProto& tensor : model.graph().initializer()) {
    if (tensor.data_type() != onnx::TensorProto::STRING) check_raw(tensor, name);
    if (tensor.name().empty() || !seen.insert(tensor.name()).second)
      throw Error(Stage::kOnnx, tensor.name(), name + ": a weight without a name, or two of the same name");
  }
}

/// Every value is made once, and before it is used.
void check_order(const onnx::ModelProto& model) {
  std::unordered_set<std::string> known{""};
  for (const auto& input : model.graph().input()) known.insert(input.name());
  for (const auto& tensor : model.graph().initializer()) known.insert(tensor.name());
  for (const NodeProto& node : model.graph().node()) {
    for (const std::string& input : node.input())
      if (!known.contains(input))
        throw Error(Stage::kOnnx, describe(node),
                    fmt::format("its input '{}' is made by no node before it, and is neither weight nor input", input));
    for (const std::string& output : node.output())
      if (!output.empty() && !known.insert(output).second)
        throw Error(Stage::kOnnx, describe(node), fmt::format("its output '{}' exists already", output));
  }
  for (const auto& output : model.graph().output())
    if (!known.contains(output.name()))
      throw Error(Stage::kOnnx, output.name(), "this output of the model is made by no node");
}

onnx::checker::CheckerContext checker_context(const onnx::ModelProto& model) {
  onnx::checker::CheckerContext context;
  context.set_ir_version(static_cast<int>(std::min<std::int64_t>(model.ir_version(), kOnnxIrVersion)));
  std::unordered_map<std::string, int> opsets;
  for (const auto& opset : model.opset_import()) opsets[opset.domain()] = static_cast<int>(opset.version());
  context.set_opset_imports(std::move(opsets));
  return context;
}

/// The first node that the checker refuses; the model's name if none is at fault.
std::string culprit(const onnx::ModelProto& model, const std::string& name) {
  const onnx::checker::CheckerContext context = checker_context(model);
  onnx::checker::LexicalScopeContext scope;
  for (const auto& input : model.graph().input()) scope.add(input.name());
  for (const auto& tensor : model.graph().initializer()) scope.add(tensor.name());
  for (const NodeProto& node : model.graph().node()) {
    try {
      onnx::checker::check_node(node, context, scope);
    } catch (const std::exception&) {
      return describe(node);
    }
    for (const std::string& output : node.output()) scope.add(output);
  }
  return name;
}

void run_checker(const onnx::ModelProto& model, const std::string& name) {
  try {
    onnx::checker::check_graph(model.graph(), checker_context(model), {});
  } catch (const std::exception& e) {
    std::string message = e.what();
    if (const std::size_t context = message.find("\n\n==> Context"); context != std::string::npos)
      message.resize(context);
    throw Error(Stage::kOnnx, culprit(model, name), "the ONNX checker refuses it: " + message);
  }
}

}  // namespace

void check_nodes(const onnx::ModelProto& model, const std::string& name) {
  check_weights(model, name);
  check_order(model);
  const std::int64_t opset = opset_of(model);
  if (opset < 1) throw Error(Stage::kOnnx, name, "the model does not say which ONNX operator set it uses");
  // What is newer than the checker at hand must wait until prepare_foreign has brought it down.
  if (opset <= kOnnxOpset) run_checker(model, name);
}

void check_model(const onnx::ModelProto& model, const std::string& name) {
  check_nodes(model, name);
  if (opset_of(model) <= kOnnxOpset) infer_types(model, name);
}

}  // namespace ferry
