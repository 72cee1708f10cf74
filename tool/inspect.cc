// ferry inspect FILE: what a checkpoint, an ONNX file or an engine plan is.
#include <fmt/core.h>

#include <filesystem>
#include <map>
#include <memory>

#include "build_set.h"
#include "cli.h"
#include "console.h"
#include "ferry/ferry.h"
#include "model.h"
#include "plan_text.h"
#include "text.h"

namespace ferry::tool {
namespace {

struct InspectFlags {
  std::string file;
  bool tensors = false;
};

std::string heading(const std::string& file, const std::string& what) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  return console().out_style(Style::kBold, printable(file)) + ": " + what +
         (error ? "" : ", " + human_bytes(static_cast<double>(size))) + "\n";
}

Json ports_json(const std::vector<Port>& ports) {
  Json list = Json::array();
  for (const Port& port : ports)
    list.push_back({{"name", port.name}, {"dtype", ferry::name_of(port.dtype)}, {"shape", port.shape}});
  return list;
}

// --- checkpoints

std::map<std::string, int> count_types(const Checkpoint& checkpoint) {
  std::map<std::string, int> counts;
  for (const CheckpointTensor& tensor : checkpoint.tensors()) ++counts[ferry::name_of(tensor.dtype)];
  return counts;
}

std::int64_t count_elements(const Checkpoint& checkpoint) {
  std::int64_t total = 0;
  for (const CheckpointTensor& tensor : checkpoint.tensors()) total += element_count(tensor.shape);
  return total;
}

std::string listing(const Checkpoint& checkpoint) {
  std::vector<std::vector<std::string>> rows;
  for (const CheckpointTensor& tensor : checkpoint.tensors())
    rows.push_back({"  " + printable(tensor.name), ferry::name_of(tensor.dtype), to_string(tensor.shape)});
  return table(rows, "lll");
}

struct Network {
  std::optional<ResNetArchitecture> architecture;
  std::string refusal;  // why it is none that ferry knows
};

Network network_of(const Checkpoint& checkpoint) {
  try {
    return {recognise(checkpoint), ""};
  } catch (const Error& error) {
    return {std::nullopt, (error.subject().empty() ? "" : error.subject() + ": ") + error.cause()};
  }
}

Json architecture_json(const ResNetArchitecture& net) {
  return {{"name", net.name()},
          {"block", net.block == ResNetArchitecture::Block::kBasic ? "basic" : "bottleneck"},
          {"depths", net.depths},
          {"planes", net.planes},
          {"widths", net.widths},
          {"groups", net.groups},
          {"stem_channels", net.stem_channels},
          {"input_channels", net.input_channels},
          {"num_classes", net.num_classes},
          {"parameters", net.parameters()},
          {"gflop_224", net.flops() / 1e9}};
}

Json checkpoint_json(const InspectFlags& options, const Checkpoint& checkpoint, const Network& network) {
  Json result = {{"file", options.file},
                 {"kind", "checkpoint"},
                 {"format", ferry::name_of(checkpoint.format())},
                 {"architecture", network.architecture ? architecture_json(*network.architecture) : Json()},
                 {"not_recognised", network.refusal},
                 {"tensor_count", checkpoint.tensors().size()},
                 {"elements", count_elements(checkpoint)},
                 {"types", count_types(checkpoint)},
                 {"notes", checkpoint.notes()}};
  if (!options.tensors) return result;
  Json list = Json::array();
  for (const CheckpointTensor& tensor : checkpoint.tensors())
    list.push_back({{"name", tensor.name}, {"dtype", ferry::name_of(tensor.dtype)}, {"shape", tensor.shape}});
  result["tensors"] = std::move(list);
  return result;
}

void inspect_checkpoint(const InspectFlags& options, const Context& context) {
  const Checkpoint checkpoint = Checkpoint::open(options.file);
  const Network network = network_of(checkpoint);
  context.emit(checkpoint_json(options, checkpoint, network));
  std::string types;
  for (const auto& [type, count] : count_types(checkpoint))
    types += fmt::format("{}{} {}", types.empty() ? "" : ", ", count, type);
  Rows rows;
  if (network.architecture) {
    const ResNetArchitecture& net = *network.architecture;
    rows.emplace_back(
        "network", fmt::format("{}, {} classes, {} input channels", net.name(), net.num_classes, net.input_channels));
    rows.emplace_back("parameters", human_count(net.parameters()));
    rows.emplace_back("work", fmt::format("{:.1f} GFLOP an image at 224x224", net.flops() / 1e9));
  } else {
    rows.emplace_back("network", "not one that ferry knows: " + printable(network.refusal));
  }
  rows.emplace_back("tensors", fmt::format("{} ({}), {} elements", checkpoint.tensors().size(), types,
                                           human_count(count_elements(checkpoint))));
  for (const std::string& note : checkpoint.notes()) rows.emplace_back("note", printable(note));
  context.print(heading(options.file, std::string("checkpoint, ") + ferry::name_of(checkpoint.format())));
  context.print(key_values(rows));
  if (options.tensors) context.print(listing(checkpoint));
}

// --- ONNX

// JSON and lists without spaces get places where a line may end.
std::string breakable(const std::string& value) {
  std::string text;
  for (const char c : printable(value)) {
    text += c;
    if (c == ',' && value.find(' ') == std::string::npos) text += ' ';
  }
  return text;
}

void inspect_onnx(const InspectFlags& options, const Context& context) {
  const OnnxSummary summary = OnnxModel::load(options.file).summary();
  Json operators = Json::object(), metadata = Json::object();
  std::string operator_text;
  for (const auto& [type, count] : summary.operators) {
    operators[type] = count;
    operator_text += fmt::format("{}{} {}", operator_text.empty() ? "" : ", ", count, printable(type));
  }
  for (const auto& [key, value] : summary.metadata) metadata[key] = value;
  context.emit({{"file", options.file},
                {"kind", "onnx"},
                {"inputs", ports_json(summary.inputs)},
                {"outputs", ports_json(summary.outputs)},
                {"ir_version", summary.ir_version},
                {"opset", summary.opset},
                {"producer", summary.producer},
                {"precision", ferry::name_of(summary.precision)},
                {"parameters", summary.parameters},
                {"operators", operators},
                {"metadata", metadata}});
  Rows rows = {{"precision", ferry::name_of(summary.precision)},
               {"inputs", ports_text(summary.inputs)},
               {"outputs", ports_text(summary.outputs)},
               {"parameters", human_count(summary.parameters)},
               {"operators", operator_text},
               {"producer", printable(summary.producer)}};
  for (const auto& [key, value] : summary.metadata) rows.emplace_back(printable(key), breakable(value));
  context.print(heading(options.file, fmt::format("ONNX, opset {}, IR version {}", summary.opset, summary.ir_version)));
  context.print(key_values(rows));
}

// --- plans

// What the sidecar says against what lies there now, in words.
std::string state_of(const std::string& file, const std::string& expected_sha256) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return "not there";
  return sha256_file(file, Stage::kOpen) == expected_sha256 ? "unchanged" : "CHANGED since the build";
}

void inspect_plan(const InspectFlags& options, const Context& context) {
  const Sidecar sidecar = read_sidecar(options.file);
  const std::string plan = state_of(options.file, sidecar.plan_sha256);
  const std::string onnx = state_of(sidecar.onnx_path, sidecar.onnx_sha256);
  context.emit({{"file", options.file},
                {"kind", "plan"},
                {"plan_state", plan},
                {"onnx_state", onnx},
                {"sidecar", Json::parse(ferry::to_json(sidecar))}});
  Rows rows = plan_rows(sidecar);
  rows.emplace_back("built", fmt::format("{} by ferry {}, in {}", printable(sidecar.built_at),
                                         printable(sidecar.ferry_version), human_seconds(sidecar.build_seconds)));
  rows.emplace_back("plan", plan);
  rows.emplace_back("onnx", printable(sidecar.onnx_path) + ": " + onnx);
  context.print(heading(options.file, "engine plan"));
  context.print(key_values(rows));
}

// Each plan of a set as it lies there now.
void inspect_set(const InspectFlags& options, const Context& context) {
  const PlanSet set = read_plan_set(options.file);
  const auto folder = std::filesystem::path(options.file).parent_path();
  Rows rows = set_rows(set);
  Json states = Json::object();
  for (const PlanSet::Part& part : set.parts) {
    const std::string state = state_of((folder / part.file).string(), part.plan_sha256);
    states[part.file] = state;
    rows.emplace_back("plan", fmt::format("{}: {}", printable(part.file), state));
  }
  rows.emplace_back("built", fmt::format("{} by ferry {}, on {}", printable(set.built_at), printable(set.ferry_version),
                                         set.gpu.empty() ? "a CPU" : printable(set.gpu)));
  context.emit({{"file", options.file},
                {"kind", "plan set"},
                {"plan_states", states},
                {"set", Json::parse(ferry::to_json(set))}});
  context.print(heading(options.file, set_title(set)) + "\n");
  context.print(measured_table(set) + "\n");
  context.print(key_values(rows));
}

int inspect(const InspectFlags& options, const Context& context) {
  switch (kind_of(options.file)) {
    case ModelKind::kOnnx:
      inspect_onnx(options, context);
      break;
    case ModelKind::kPlan:
      is_plan_set(options.file) ? inspect_set(options, context) : inspect_plan(options, context);
      break;
    case ModelKind::kCheckpoint:
    case ModelKind::kName:
      inspect_checkpoint(options, context);
      break;
  }
  return kGood;
}

}  // namespace

void add_inspect(Cli& cli) {
  auto options = std::make_shared<InspectFlags>();
  CLI::App* verb = cli.add_verb("inspect", "Show what a checkpoint, an ONNX file or an engine plan is",
                                [options](const Context& context) { return inspect(*options, context); });
  verb->add_option("FILE", options->file, "checkpoint (.pth, .pt, .safetensors), .onnx or .plan")->required();
  verb->add_flag("--tensors", options->tensors, "List every tensor of a checkpoint");
}

}  // namespace ferry::tool
