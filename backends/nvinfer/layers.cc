#include "nvinfer/layers.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "nvinfer/inspector_text.h"
#include "nvinfer/proof.h"

namespace ferry::nvinfer {
namespace {

using Json = nlohmann::json;

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

double bytes_of_type(const std::string& type) {
  static const std::map<std::string, double> sizes{{"Float", 4}, {"Int32", 4},    {"Int64", 8}, {"Half", 2},
                                                   {"Int8", 1},  {"BFloat16", 2}, {"FP8", 1}};
  const auto found = sizes.find(type);
  return found == sizes.end() ? 0 : found->second;
}

// Dimensions of a tensor as the inspector lists them; the dynamic one is the batch.
std::vector<double> dimensions(const Json& tensor, std::int64_t batch) {
  std::vector<double> sizes;
  const auto found = tensor.find("Dimensions");
  if (found == tensor.end() || !found->is_array()) return sizes;
  for (const Json& size : *found) {
    if (!size.is_number()) return {};
    sizes.push_back(size.get<double>() < 0 ? static_cast<double>(batch) : size.get<double>());
  }
  return sizes;
}

double product(const std::vector<double>& sizes, std::size_t from = 0) {
  double result = 1;
  for (std::size_t i = from; i < sizes.size(); ++i) result *= sizes[i];
  return result;
}

const Json& tensors(const Json& layer, const char* side) {
  static const Json none = Json::array();
  const auto found = layer.find(side);
  return found != layer.end() && found->is_array() ? *found : none;
}

// Unknown (null) as soon as one tensor does not tell its size.
Json bytes_of(const Json& layer, std::int64_t batch) {
  double total = 0;
  for (const char* side : {"Inputs", "Outputs"}) {
    for (const Json& tensor : tensors(layer, side)) {
      const auto sizes = tensor.is_object() ? dimensions(tensor, batch) : std::vector<double>();
      const double each = tensor.is_object() ? bytes_of_type(type_in(text_at(tensor, "Format/Datatype"))) : 0;
      if (sizes.empty() || each == 0) return nullptr;
      total += product(sizes) * each;
    }
  }
  if (const double count = weight_count(layer); count > 0)
    total += count * bytes_of_type(type_in(text_at(layer.at("Weights"), "Type")));
  return total > 0 ? Json(total) : Json();
}

std::string kind_of(const Json& layer) {
  std::string kind = text_at(layer, "LayerType") + " " + text_at(layer, "ParameterType");
  std::transform(kind.begin(), kind.end(), kind.begin(), [](unsigned char c) { return std::tolower(c); });
  return kind;
}

bool multiplies_matrices(const Json& layer) {
  const std::string kind = kind_of(layer);
  return kind.find("gemm") != std::string::npos || kind.find("matrix") != std::string::npos;
}

// Pixels of what a convolution gives. One that is fused with the pooling behind it (CaskConvActPool: the first of a
// ResNet) shows the pooled output: then they follow from its input and its stride. 0: it does not tell.
double pixels_of(const Json& layer, const std::vector<double>& out, std::int64_t batch) {
  if (kind_of(layer).find("pool") == std::string::npos) return product(out, 2);
  const Json& inputs = tensors(layer, "Inputs");
  const auto stride = layer.find("Stride");
  if (inputs.empty() || !inputs.front().is_object() || stride == layer.end() || !stride->is_array()) return 0;
  const std::vector<double> in = dimensions(inputs.front(), batch);
  if (in.size() != stride->size() + 2) return 0;
  double pixels = 1;
  for (std::size_t i = 0; i < stride->size(); ++i) {
    const Json& step = (*stride)[i];
    if (!step.is_number() || step.get<double>() < 1) return 0;
    pixels *= std::ceil(in[i + 2] / step.get<double>());
  }
  return pixels;
}

// Each weight of a convolution meets each pixel of its output once; a product of matrices has the length of its rows.
Json flops_of(const Json& layer, std::int64_t batch) {
  const Json& outputs = tensors(layer, "Outputs");
  if (outputs.empty() || !outputs.front().is_object()) return nullptr;
  const std::vector<double> out = dimensions(outputs.front(), batch);
  if (out.empty()) return nullptr;
  if (const double count = weight_count(layer); count > 0) {
    const double pixels = pixels_of(layer, out, batch);
    return pixels > 0 ? Json(2 * count * out[0] * pixels) : Json();
  }
  const Json& inputs = tensors(layer, "Inputs");
  if (!multiplies_matrices(layer) || inputs.empty() || !inputs.front().is_object()) return nullptr;
  const std::vector<double> in = dimensions(inputs.front(), batch);
  if (in.size() < 2) return nullptr;
  return 2 * product(out) * (product(in) / in[0]);
}

Json describe(const Json& layer, std::int64_t batch) {
  std::string precision;
  const Json& inputs = tensors(layer, "Inputs");
  if (!inputs.empty() && inputs.front().is_object()) precision = type_in(text_at(inputs.front(), "Format/Datatype"));
  std::string kernel = text_at(layer, "TacticName");
  if (kernel.empty()) kernel = text_at(layer, "KernelName");
  return {{"kind", text_or_null(text_at(layer, "LayerType"))},
          {"kernel", text_or_null(kernel)},
          {"precision", text_or_null(precision)},
          {"flops", flops_of(layer, batch)},
          {"bytes", bytes_of(layer, batch)}};
}

// The inspector tells the layers of several profiles apart by a suffix that the profiler may leave out.
std::string without_profile(const std::string& name) {
  const std::size_t suffix = name.rfind(" [profile ");
  return suffix == std::string::npos ? name : name.substr(0, suffix);
}

}  // namespace

std::vector<LayerSample> medians(const std::vector<std::vector<LayerSample>>& runs) {
  std::vector<LayerSample> result;
  if (runs.empty()) return result;
  const std::size_t layers = runs.back().size();
  for (std::size_t i = 0; i < layers; ++i) {
    std::vector<double> times;
    for (const auto& run : runs)
      if (run.size() == layers && run[i].name == runs.back()[i].name) times.push_back(run[i].ms);
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
    result.push_back({runs.back()[i].name, times[times.size() / 2]});
  }
  return result;
}

Json join_layers(const std::string& inspector_json, const std::vector<LayerSample>& samples, std::int64_t batch,
                 int profile) {
  std::map<std::string, Json> known;
  const Json engine = Json::parse(inspector_json, nullptr, false);
  if (engine.is_object() && engine.contains("Layers") && engine["Layers"].is_array()) {
    for (const Json& layer : engine["Layers"]) {
      if (!layer.is_object()) continue;
      const std::string name = text_at(layer, "Name");
      known[name] = describe(layer, batch);
      known.try_emplace(without_profile(name), known[name]);
    }
  }
  const Json nothing{
      {"kind", nullptr}, {"kernel", nullptr}, {"precision", nullptr}, {"flops", nullptr}, {"bytes", nullptr}};
  Json layers = Json::array();
  for (const LayerSample& sample : samples) {
    // The profiler's name as it is; where it leaves the profile out, that of the profile that ran; then any other.
    auto found = known.find(sample.name + " [profile " + std::to_string(profile) + "]");
    if (found == known.end()) found = known.find(sample.name);
    if (found == known.end()) found = known.find(without_profile(sample.name));
    Json layer = found == known.end() ? nothing : found->second;
    layer["name"] = without_profile(sample.name);
    layer["ms"] = sample.ms;
    layers.push_back(std::move(layer));
  }
  return {{"layers", std::move(layers)}};
}

}  // namespace ferry::nvinfer
