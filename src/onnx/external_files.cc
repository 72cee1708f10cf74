#include "onnx/external_files.h"

#include <set>

#include "onnx/model_impl.h"

namespace ferry {

std::vector<std::string> external_files(const std::string& bytes) {
  // The key of every external tensor; not there, the model need not be parsed.
  if (bytes.find("location") == std::string::npos) return {};
  onnx::ModelProto model;
  if (!model.ParseFromString(bytes)) return {};
  std::set<std::string> files;
  const auto add = [&](const onnx::TensorProto& tensor) {
    for (const auto& entry : tensor.external_data())
      if (entry.key() == "location") files.insert(entry.value());
  };
  for (const auto& tensor : model.graph().initializer()) add(tensor);
  for (const auto& node : model.graph().node())
    for (const auto& attribute : node.attribute())
      if (attribute.has_t()) add(attribute.t());
  return {files.begin(), files.end()};
}

}  // namespace ferry
