// From a ResNet to its ONNX model: write the network as it was trained, then apply passes.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "ferry/error.h"
#include "onnx/graph_writer.h"
#include "onnx/model_impl.h"
#include "resnet/graph.h"

namespace ferry {
namespace {

void add_metadata(onnx::ModelProto& model, const std::string& key, const std::string& value) {
  auto& entry = *model.add_metadata_props();
  entry.set_key(key);
  entry.set_value(value);
}

std::string architecture_json(const ResNetArchitecture& network) {
  const bool basic = network.block == ResNetArchitecture::Block::kBasic;
  const nlohmann::ordered_json json{{"name", network.name()},
                                    {"block", basic ? "basic" : "bottleneck"},
                                    {"depths", network.depths},
                                    {"planes", network.planes},
                                    {"widths", network.widths},
                                    {"groups", network.groups},
                                    {"stem_channels", network.stem_channels},
                                    {"input_channels", network.input_channels},
                                    {"classes", network.num_classes}};
  return json.dump();
}

void describe_model(const ResNet& network, const ExportOptions& options, onnx::ModelProto& model) {
  model.set_ir_version(kOnnxIrVersion);
  model.set_producer_name("ferry");
  model.set_producer_version(FERRY_VERSION);
  auto& opset = *model.add_opset_import();
  opset.set_domain("");
  opset.set_version(kOnnxOpset);
  model.mutable_graph()->set_name(network.architecture.name());
  if (network.random) model.set_doc_string("Random weights: for measuring speed only. " + network.origin);
  add_metadata(model, "ferry.architecture", architecture_json(network.architecture));
  // Without the folder: the same checkpoint gives the same file wherever it lies, and calibration files go with both.
  add_metadata(model, "ferry.origin", std::filesystem::path(network.origin).filename().string());
  add_metadata(model, "ferry.random_weights", network.random ? "true" : "false");
  add_metadata(model, "ferry.precision", name_of(options.precision));
  add_metadata(model, "ferry.batch_norm", options.keep_batch_norm ? "kept" : "folded");
  for (const auto& [key, value] : options.metadata) add_metadata(model, key, value);
}

void check_options(const ExportOptions& options) {
  if (options.precision == Precision::kInt8)
    throw Error(Stage::kUsage, "int8", "an INT8 model needs calibration, which an export does not have",
                "Export FP32, then run: ferry quantize");
  if (options.fp16_io && options.precision != Precision::kFp16)
    throw Error(Stage::kUsage, "fp16 input and output", "these go with FP16 weights only", "Add --precision fp16.");
  if (options.fp16_io && !is_default(options.form))
    throw Error(Stage::kUsage, "fp16 input and output", "another form of input and output was asked for too",
                "Leave one of them out.");
  if (options.height < 1 || options.width < 1)
    throw Error(Stage::kUsage, std::to_string(options.height) + "x" + std::to_string(options.width),
                "this is no image size");
}

OnnxModel export_with(const ResNet& network, const WeightSource& weights, const ExportOptions& options) {
  check_options(options);
  auto impl = std::make_unique<OnnxModel::Impl>();
  impl->name = network.origin;
  describe_model(network, options, impl->proto);
  GraphWriter writer(*impl->proto.mutable_graph());
  write_resnet(network.architecture, weights, options.height, options.width, writer);
  OnnxModel model(std::move(impl));
  if (!options.keep_batch_norm) fold_batch_norm(model);
  fold_form(model, options.form);
  if (options.precision == Precision::kFp16) convert_to_fp16(model, !options.fp16_io);
  attach_form(model, options.form);
  model.check();
  return model;
}

}  // namespace

OnnxModel export_onnx(const ResNet& network, const ExportOptions& options) {
  return export_with(
      network, [&](const std::string& name) -> const Tensor& { return network.at(name); }, options);
}

OnnxModel export_onnx(ResNet&& network, const ExportOptions& options) {
  // A weight is asked for once and copied at once, so the one before can go.
  Tensor* last = nullptr;
  const auto take = [&](const std::string& name) -> const Tensor& {
    if (last != nullptr) *last = Tensor();
    last = &const_cast<Tensor&>(network.at(name));  // ours: the caller gave the network away
    return *last;
  };
  OnnxModel model = export_with(network, take, options);
  network.weights.clear();
  return model;
}

}  // namespace ferry
