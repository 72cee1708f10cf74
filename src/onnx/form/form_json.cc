// A form as text: for metadata, sidecars and people.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "ferry/error.h"
#include "ferry/form.h"

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;

const char* layout_of(InputForm input) { return input == InputForm::kUint8Nhwc ? "nhwc" : "nchw"; }

// Decimal numbers as short as they read back the same: 0.485, not 0.48500001430511475.
Json decimals(const std::vector<float>& values) {
  Json list = Json::array();
  for (const float value : values) list.push_back(Json::parse(fmt::format("{}", value)));
  return list;
}

InputForm input_of(const Json& json) {
  const std::string type = json.value("input", "float32"), layout = json.value("layout", "nchw");
  if (type == "float32" && layout == "nchw") return InputForm::kFloat;
  if (type == "uint8" && layout == "nhwc") return InputForm::kUint8Nhwc;
  if (type == "uint8" && layout == "nchw") return InputForm::kUint8Nchw;
  throw std::invalid_argument(fmt::format("no input is {} {}", type, layout));
}

}  // namespace

bool is_default(const GraphForm& form) { return form == GraphForm{}; }

std::string to_string(const GraphForm& form) {
  std::string text = form.input == InputForm::kFloat       ? "float32 normalised in"
                     : form.input == InputForm::kUint8Nhwc ? "uint8 pixels (N,H,W,C) in, normalised in the graph"
                                                           : "uint8 pixels (N,C,H,W) in, normalised in the graph";
  if (form.pad_channels > 0) text += fmt::format(", {} input channels", form.pad_channels);
  if (form.conv_classifier) text += ", classifier as a 1x1 convolution";
  return text + (form.top_k > 0 ? fmt::format(", top {} out (probabilities, classes)", form.top_k) : ", scores out");
}

std::string to_json(const GraphForm& form) {
  Json json;
  json["input"] = form.input == InputForm::kFloat ? "float32" : "uint8";
  json["layout"] = layout_of(form.input);
  if (form.input != InputForm::kFloat) {
    json["mean"] = decimals(form.mean);
    json["std"] = decimals(form.std);
  }
  json["output"] = form.top_k > 0 ? "top_k" : "scores";
  if (form.top_k > 0) {
    json["top_k"] = form.top_k;
    json["classes"] = form.classes;
  }
  if (form.pad_channels > 0) json["pad_channels"] = form.pad_channels;
  if (form.conv_classifier) json["classifier"] = "conv";
  return json.dump();
}

GraphForm form_from_json(const std::string& text, const std::string& subject) {
  try {
    const Json json = Json::parse(text);
    GraphForm form;
    form.input = input_of(json);
    form.mean = json.value("mean", std::vector<float>());
    form.std = json.value("std", std::vector<float>());
    form.top_k = json.value("top_k", 0);
    form.classes = json.value("classes", 0);
    form.pad_channels = json.value("pad_channels", 0);
    form.conv_classifier = json.value("classifier", "gemm") == "conv";
    if (form.mean.size() != form.std.size() || form.top_k < 0)
      throw std::invalid_argument("mean, std or top_k contradict each other");
    return form;
  } catch (const std::exception& error) {
    throw Error(Stage::kOnnx, subject,
                fmt::format("what it says about its input and output cannot be used: {}", error.what()),
                "Export it again with this ferry.");
  }
}

GraphForm form_of(const std::vector<std::pair<std::string, std::string>>& metadata, const std::string& subject) {
  for (const auto& [key, value] : metadata)
    if (key == "ferry.form") return form_from_json(value, subject);
  return {};
}

}  // namespace ferry
