// Bringing a freshly parsed model into one form: see model_impl.h.
#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <unordered_set>

#include "ferry/error.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;
using onnx::TensorProto;

struct ExternalData {
  std::string location;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
};

std::uint64_t parse_number(const std::string& text, const TensorProto& tensor) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(Stage::kOnnx, tensor.name(), fmt::format("'{}' is no offset or length in a file", text));
  return value;
}

ExternalData external_data(const TensorProto& tensor) {
  ExternalData data;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") data.location = entry.value();
    if (entry.key() == "offset") data.offset = parse_number(entry.value(), tensor);
    if (entry.key() == "length") data.length = parse_number(entry.value(), tensor);
  }
  return data;
}

/// A model must not make us read files elsewhere: only plain files in the model's own folder or below, links resolved.
fs::path external_path(const ExternalData& data, const TensorProto& tensor, const std::string& folder) {
  if (folder.empty())
    throw Error(
        Stage::kOnnx, tensor.name(),
        fmt::format("these weights are in another file ('{}'), which a model in memory cannot read", data.location),
        "Load the model from its file.");
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  const fs::path path = fs::canonical(root / data.location, error);
  if (error || !fs::is_regular_file(path))
    throw Error(Stage::kOnnx, tensor.name(),
                fmt::format("its weights should be in '{}', which is not there", data.location),
                fmt::format("Copy '{}' into the folder of the model.", data.location));
  const auto [end, unused] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
  if (end != root.end() || fs::path(data.location).is_absolute())
    throw Error(Stage::kOnnx, tensor.name(),
                fmt::format("its weights are said to be in '{}', outside the folder of the model", data.location));
  return path;
}

/// `room` is what the container still holds: tensors that all point at the same bytes must not fill the memory.
void read_external(TensorProto& tensor, const std::string& folder, std::uint64_t& room) {
  const ExternalData data = external_data(tensor);
  const fs::path path = external_path(data, tensor, folder);
  const std::uint64_t size = fs::file_size(path);
  const std::uint64_t rest = data.offset <= size ? size - data.offset : 0;
  const std::uint64_t length = data.length.value_or(rest);
  if (data.offset > size || length > rest)
    throw Error(Stage::kOnnx, tensor.name(),
                fmt::format("bytes {} to {} of '{}' are wanted, which has {}", data.offset,
                            static_cast<double>(data.offset) + static_cast<double>(length), data.location, size),
                "The file is damaged or was cut off: copy or export it again.");
  if (length > room)
    throw Error(Stage::kOnnx, tensor.name(), "with its external weights the model is larger than 2 GiB",
                "Use FP16 weights, which take half the room.");
  room -= length;
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(data.offset));
  std::string& raw = *tensor.mutable_raw_data();
  raw.resize(length);
  if (!file.read(raw.data(), static_cast<std::streamsize>(length)))
    throw Error(Stage::kOnnx, tensor.name(), fmt::format("cannot read '{}'", data.location));
  tensor.clear_external_data();
  tensor.clear_data_location();
}

void normalise_tensor(TensorProto& tensor, const std::string& name, const std::string& folder, std::uint64_t& room) {
  if (tensor.data_location() == TensorProto::EXTERNAL) read_external(tensor, folder, room);
  if (tensor.data_type() == TensorProto::STRING) return;
  to_raw(tensor, name);
}

/// Until IR version 4 every weight was listed as an input too.
void drop_weights_from_inputs(onnx::GraphProto& graph) {
  std::unordered_set<std::string> weights;
  for (const TensorProto& tensor : graph.initializer()) weights.insert(tensor.name());
  auto& inputs = *graph.mutable_input();
  int kept = 0;
  for (int i = 0; i < inputs.size(); ++i)
    if (!weights.contains(inputs.Get(i).name())) inputs.SwapElements(kept++, i);
  inputs.DeleteSubrange(kept, inputs.size() - kept);
}

}  // namespace

std::int64_t opset_of(const onnx::ModelProto& model) {
  for (const auto& opset : model.opset_import())
    if (opset.domain().empty() || opset.domain() == "ai.onnx") return opset.version();
  return 0;
}

void normalise(onnx::ModelProto& model, const std::string& name, const std::string& folder) {
  onnx::GraphProto& graph = *model.mutable_graph();
  std::uint64_t room = std::numeric_limits<int>::max();
  for (TensorProto& tensor : *graph.mutable_initializer()) normalise_tensor(tensor, name, folder, room);
  for (onnx::NodeProto& node : *graph.mutable_node())
    for (onnx::AttributeProto& attribute : *node.mutable_attribute())
      if (attribute.has_t()) normalise_tensor(*attribute.mutable_t(), name, folder, room);
  drop_weights_from_inputs(graph);
  if (model.ir_version() < 4) model.set_ir_version(4);  // the oldest in which weights need not be inputs
}

}  // namespace ferry
