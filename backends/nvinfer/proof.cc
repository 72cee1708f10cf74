#include "nvinfer/proof.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>

#include "nvinfer/inspector_text.h"

namespace ferry::nvinfer {
namespace {

using Json = nlohmann::json;

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

bool multiplies(const Json& layer) {
  if (weight_count(layer) > 0) return true;
  const std::string kind = lower(text_at(layer, "LayerType") + " " + text_at(layer, "ParameterType"));
  for (const char* word : {"conv", "gemm", "matrixmultiply", "matrix_multiply", "fullyconnected", "deconv"}) {
    if (kind.find(word) != std::string::npos) return true;
  }
  return false;
}

std::string type_of_first(const Json& layer, const char* side) {
  const auto tensors = layer.find(side);
  if (tensors == layer.end() || !tensors->is_array() || tensors->empty() || !tensors->front().is_object()) return {};
  return type_in(text_at(tensors->front(), "Format/Datatype"));
}

std::string type_of(const Json& layer) {
  std::string type = type_of_first(layer, "Inputs");
  if (type.empty() && weight_count(layer) > 0) type = type_in(text_at(layer["Weights"], "Type"));
  if (type.empty()) type = type_of_first(layer, "Outputs");
  return type.empty() ? "unknown" : type;
}

}  // namespace

std::string type_in(std::string_view description) {
  static constexpr std::array<std::array<const char*, 2>, 13> kWords{{{"bfloat16", "BFloat16"},
                                                                      {"bf16", "BFloat16"},
                                                                      {"int8", "Int8"},
                                                                      {"fp8", "FP8"},
                                                                      {"fp4", "FP4"},
                                                                      {"int4", "Int4"},
                                                                      {"half", "Half"},
                                                                      {"fp16", "Half"},
                                                                      {"float16", "Half"},
                                                                      {"fp32", "Float"},
                                                                      {"float", "Float"},
                                                                      {"int32", "Int32"},
                                                                      {"int64", "Int64"}}};
  const std::string text = lower(description);
  for (const auto& [word, name] : kWords) {
    if (text.find(word) != std::string::npos) return name;
  }
  return std::string(description);
}

Proof count_layers(const std::string& inspector_json) {
  Proof proof;
  const Json engine = Json::parse(inspector_json, nullptr, false);
  if (!engine.is_object() || !engine.contains("Layers") || !engine["Layers"].is_array()) return proof;
  for (const Json& layer : engine["Layers"]) {
    if (layer.is_object() && multiplies(layer)) proof.count(type_of(layer));
  }
  return proof;
}

std::string to_json(const Proof& proof) {
  if (proof.layers == 0) return "null";
  return Json{{"layers", proof.layers}, {"by_type", proof.by_type}}.dump();
}

}  // namespace ferry::nvinfer
