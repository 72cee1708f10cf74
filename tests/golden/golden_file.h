// Reads what python/make_golden.py writes. Format: docs/onnx.md, "Golden files".
#pragma once

#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "base/files.h"
#include "ferry/resnet.h"

namespace ferry::test {

struct GoldenFile {
  ResNet network;
  Tensor input;
  std::vector<std::pair<std::string, Tensor>> outputs;  // "stem", "layer1" ... "layer4", "logits"
};

inline ResNetArchitecture architecture_of(const nlohmann::json& header) {
  ResNetArchitecture network;
  network.block =
      header.at("block") == "basic" ? ResNetArchitecture::Block::kBasic : ResNetArchitecture::Block::kBottleneck;
  network.depths = header.at("depths");
  network.planes = header.at("planes");
  network.widths = header.at("widths");
  network.groups = header.at("groups");
  network.stem_channels = header.at("stem_channels");
  network.num_classes = header.at("classes");
  return network;
}

inline GoldenFile read_golden(const std::string& path) {
  const std::string bytes = read_file(path, Stage::kModel);
  std::uint32_t version = 0, length = 0;
  if (bytes.size() < 16 || bytes.compare(0, 8, "FERRYGLD") != 0) throw std::runtime_error(path + ": no golden file");
  std::memcpy(&version, bytes.data() + 8, 4);
  std::memcpy(&length, bytes.data() + 12, 4);
  if (version != 1)
    throw std::runtime_error(path + ": another version; run: python3 python/make_golden.py tests/golden/data");
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(16, length));
  GoldenFile golden;
  golden.network.architecture = architecture_of(header);
  golden.network.origin = path;
  for (const auto& entry : header.at("tensors")) {
    const std::string name = entry.at("name");
    Tensor tensor(DType::kFloat32, entry.at("shape").get<Shape>());
    const std::size_t start = 16 + length + entry.at("offset").get<std::size_t>();
    if (start + tensor.size_bytes() > bytes.size()) throw std::runtime_error(path + ": cut off");
    std::memcpy(tensor.data(), bytes.data() + start, tensor.size_bytes());
    if (name.starts_with("weights.")) {
      golden.network.weights.emplace(name.substr(8), std::move(tensor));
    } else if (name.starts_with("output.")) {
      golden.outputs.emplace_back(name.substr(7), std::move(tensor));
    } else {
      golden.input = std::move(tensor);
    }
  }
  return golden;
}

}  // namespace ferry::test
