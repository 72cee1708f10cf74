#include "cuda/layers.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "cuda/node_attributes.h"
#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

using nvinfer::Failure;

constexpr float kSmallestScale = 1e-20F;

class Reader {
 public:
  explicit Reader(const OnnxGraph& graph) : graph_(graph) {
    for (const Node& node : graph.nodes)
      for (const std::string& input : node.inputs) ++uses_[input];
  }

  ReadLayers read() {
    read_input();
    for (const Node& node : graph_.nodes) read_node(node);
    read_output();
    finish_scales();
    put_in_order();
    check_layers(result_.layers);
    return std::move(result_);
  }

 private:
  void read_input() {
    if (graph_.inputs.size() != 1 || graph_.outputs.size() != 1)
      refuse("graph", "it has " + std::to_string(graph_.inputs.size()) + " inputs and " +
                          std::to_string(graph_.outputs.size()) + " outputs, and this engine takes one of each");
    const GraphPort& port = graph_.inputs.front();
    const bool image = port.dims.size() == 4 && port.dims[1] == 3 && port.dims[2] > 0 && port.dims[3] > 0;
    if (!image) refuse("input '" + port.name + "'", "its shape must be [N, 3, height, width] with a fixed size");
    if (port.dtype != kFloat) refuse("input '" + port.name + "'", "its type must be float32");
    if (port.dims[2] > 4096 || port.dims[3] > 4096 || port.dims[3] % 2 != 0)
      refuse("input '" + port.name + "'", "its height and width may be at most 4096, its width must be even");
    Layers& layers = result_.layers;
    layers.input = port.name;
    layers.batch = port.dims[0];
    add_tensor(port.name, {static_cast<int>(port.dims[2]), static_cast<int>(port.dims[3]), 3}, -1);
  }

  void read_node(const Node& node) {
    if (node.outputs.empty() || node.inputs.empty()) refuse(node.label(), "it has no inputs or no outputs");
    static const std::map<std::string, void (Reader::*)(const Node&)> readers{
        {"Conv", &Reader::conv},
        {"Relu", &Reader::relu},
        {"Add", &Reader::add},
        {"MaxPool", &Reader::max_pool},
        {"Flatten", &Reader::flatten},
        {"GlobalAveragePool", &Reader::average_pool},
        {"Gemm", &Reader::gemm},
        {"Cast", &Reader::cast},
        {"Identity", &Reader::same},
        {"Sub", &Reader::subtract},
        {"QuantizeLinear", &Reader::quantize},
        {"DequantizeLinear", &Reader::dequantize}};
    const auto found = readers.find(node.op);
    if (subtracted_.count(node.inputs[0]) > 0 && node.op != "QuantizeLinear" && node.op != "DequantizeLinear" &&
        node.op != "Gemm")
      refuse(node.label(), "a constant may be subtracted from the classifier's input only");
    if (found != readers.end()) {
      (this->*found->second)(node);
    } else if (node.op == "BatchNormalization") {
      refuse(node.label(),
             "batch norm must be folded into the convolutions (ferry export does, without --keep-batch-norm)");
    } else {
      refuse(node.label(), "this engine does not compute " + node.op);
    }
  }

  // -- values
  int tensor(const Node& node, std::size_t input) const {
    const std::string name = input < node.inputs.size() ? node.inputs[input] : "";
    const auto found = values_.find(name);
    if (found == values_.end()) refuse(node.label(), "its input '" + name + "' is not the result of an earlier node");
    return found->second;
  }
  int add_tensor(const std::string& name, Shape shape, int maker) {
    const int id = static_cast<int>(result_.layers.tensors.size());
    result_.layers.tensors.push_back(shape);
    makers_.push_back(maker);
    levels_.push_back(0);
    scales_.push_back(0);
    values_[name] = id;
    return id;
  }
  Shape shape(int tensor) const { return result_.layers.tensors[static_cast<std::size_t>(tensor)]; }
  int level(int tensor) const { return levels_[static_cast<std::size_t>(tensor)]; }

  Layer& add_layer(const Node& node, LayerKind kind, int in, Shape out_shape, LayerWeights weights = {}) {
    Layer layer;
    layer.kind = kind;
    layer.name = node.name.empty() ? node.outputs.front() : node.name;
    layer.in = in;
    layer.out = add_tensor(node.outputs.front(), out_shape, static_cast<int>(result_.layers.layers.size()));
    levels_.back() = level(in) + 1;
    result_.layers.layers.push_back(std::move(layer));
    result_.weights.push_back(weights);
    return result_.layers.layers.back();
  }
  /// The convolution that made this value, if nothing else uses it and nothing was fused behind it.
  Layer* open_conv(const std::string& name) {
    const auto found = values_.find(name);
    if (found == values_.end() || uses_[name] != 1 || quantised_.count(name) > 0) return nullptr;
    const int maker = makers_[static_cast<std::size_t>(found->second)];
    if (maker < 0) return nullptr;
    Layer& layer = result_.layers.layers[static_cast<std::size_t>(maker)];
    return layer.kind == LayerKind::kConv && !layer.relu ? &layer : nullptr;
  }

  /// Int8 weights of the model, behind their DequantizeLinear.
  struct Int8Weight {
    const Weight* stored;
    std::vector<float> scales;
  };

  static const std::string& input(const Node& node, std::size_t index) {
    static const std::string none;
    return index < node.inputs.size() ? node.inputs[index] : none;
  }
  /// The shape of a layer's weights, empty where they are not stored in the model.
  std::vector<std::int64_t> weight_shape(const Node& node) const {
    const auto dequantised = int8_weights_.find(input(node, 1));
    if (dequantised != int8_weights_.end()) return dequantised->second.stored->dims;
    const auto found = graph_.weights.find(input(node, 1));
    return found == graph_.weights.end() ? std::vector<std::int64_t>() : found->second.dims;
  }
  std::string_view values(const Node& node, const Weight& w, const std::vector<std::int64_t>& dims, int dtype) const {
    if (w.dtype == kFloat && dtype != kFloat)
      throw Failure(node.label(), node.label() + " has float32 weights, and this engine computes in FP16 or INT8",
                    "export with --precision fp16, or quantize", FERRY_UNSUPPORTED);
    if (w.dtype != dtype)
      refuse(node.label(), "its weights '" + w.name + "' must be " +
                               (dtype == kFloat  ? "float32"
                                : dtype == kInt8 ? "int8"
                                                 : "float16"));
    std::size_t size = dtype == kFloat ? 4 : dtype == kInt8 ? 1 : 2;
    for (const std::int64_t d : dims) size *= static_cast<std::size_t>(d);
    if (w.dims != dims || w.raw.size() != size)
      refuse(node.label(), "its weights '" + w.name + "' have another shape than its input and attributes need");
    return w.raw;
  }
  const Weight& stored(const Node& node, const std::string& name) const {
    const auto found = graph_.weights.find(name);
    if (found == graph_.weights.end()) refuse(node.label(), "its weights '" + name + "' are not stored in the model");
    return found->second;
  }
  /// What a layer multiplies by and adds; both kinds must be those of the network so far.
  LayerWeights weights(const Node& node, const std::vector<std::int64_t>& dims) {
    LayerWeights result;
    const auto dequantised = int8_weights_.find(input(node, 1));
    const bool int8 = dequantised != int8_weights_.end(), from_int8 = quantised_.count(node.inputs[0]) > 0;
    if (int8) {
      result.weights = values(node, *dequantised->second.stored, dims, kInt8);
      result.scales = dequantised->second.scales;
    } else {
      result.weights = values(node, stored(node, input(node, 1)), dims, kFloat16);
    }
    if (int8 != from_int8)
      refuse(node.label(), int8 ? "its weights are quantised and its input is not"
                                : "its input is quantised and its weights are not");
    if (!result_.weights.empty() && int8 == result_.weights.front().scales.empty())
      refuse(node.label(), "this engine takes no network of which some layers are quantised and some are not");
    if (!input(node, 2).empty())
      result.bias = values(node, stored(node, input(node, 2)), {dims[0]}, int8 ? kFloat : kFloat16);
    return result;
  }

  // -- nodes
  void conv(const Node& node) {
    const std::vector<std::int64_t> dims = weight_shape(node);
    if (dims.size() != 4) refuse(node.label(), "its weights must be stored in the model with four dimensions");
    const int in = tensor(node, 0);
    const Shape from = shape(in);
    const std::int64_t stride = square(node, "strides", 1), pad = square(node, "pads", 0);
    const int kernel = limited(node, dims[2], 1, 7, "kernel size");
    if (number(node, "group", 1) != 1) refuse(node.label(), "this engine computes no grouped convolution");
    if (dims[3] != kernel || square(node, "dilations", 1) != 1 || pad != kernel / 2 || (stride != 1 && stride != 2))
      refuse(node.label(), "this engine computes convolutions of stride 1 or 2 that pad by half their size");
    const int channels = limited(node, dims[0], 1, 8192, "number of channels");
    const Shape to{(from.height - 1) / static_cast<int>(stride) + 1, (from.width - 1) / static_cast<int>(stride) + 1,
                   channels};
    const LayerWeights values = weights(node, {channels, from.channels, kernel, kernel});
    Layer& layer = add_layer(node, LayerKind::kConv, in, to, values);
    layer.kernel = kernel;
    layer.stride = static_cast<int>(stride);
  }

  /// One scale for a whole tensor and zero point 0, as ferry quantize writes them.
  std::vector<float> scales(const Node& node, const std::vector<std::int64_t>& dims) const {
    const std::string_view raw = values(node, stored(node, input(node, 1)), dims, kFloat);
    const std::string_view zeros = values(node, stored(node, input(node, 2)), dims, kInt8);
    std::vector<float> result(raw.size() / sizeof(float));
    if (!raw.empty()) std::memcpy(result.data(), raw.data(), raw.size());
    const auto good = [](float scale) { return scale >= kSmallestScale && scale <= 1 / kSmallestScale; };
    if (!std::all_of(result.begin(), result.end(), good) ||
        !std::all_of(zeros.begin(), zeros.end(), [](char zero) { return zero == 0; }))
      refuse(node.label(), "its scales must be positive and its zero points 0");
    return result;
  }

  void quantize(const Node& node) {
    const int of = tensor(node, 0);
    const float scale = scales(node, {}).front();
    float& known = scales_[static_cast<std::size_t>(of)];
    if (quantised_.count(node.inputs[0]) > 0 || (known > 0 && known != scale))
      refuse(node.label(), "what it reads is quantised in another way already; readers of a tensor must share a scale");
    known = scale;
    same(node);
    quantised_.insert(node.outputs.front());
  }

  void dequantize(const Node& node) {
    const auto found = graph_.weights.find(node.inputs[0]);
    if (found != graph_.weights.end()) {
      const Weight& w = found->second;
      if (w.dtype != kInt8 || w.dims.empty() || number(node, "axis", 1) != 0)
        refuse(node.label(), "weights must be int8 with one scale for each output channel (axis 0)");
      int8_weights_[node.outputs.front()] = {&w, scales(node, {w.dims[0]})};
      return;
    }
    const int of = tensor(node, 0);
    if (quantised_.count(node.inputs[0]) == 0 || scales(node, {}).front() != scales_[static_cast<std::size_t>(of)])
      refuse(node.label(), "it must undo a QuantizeLinear of the same scale");
    same(node);
    quantised_.insert(node.outputs.front());
  }

  void relu(const Node& node) {
    Layer* conv = open_conv(node.inputs[0]);
    if (conv == nullptr) refuse(node.label(), "a Relu must be alone behind a convolution or an addition");
    conv->relu = true;
    same(node);
  }

  void add(const Node& node) {
    if (node.inputs.size() != 2) refuse(node.label(), "an Add takes two inputs");
    Layer *a = open_conv(node.inputs[0]), *b = open_conv(node.inputs[1]);
    if (a != nullptr && a->residual >= 0) a = nullptr;
    if (b != nullptr && b->residual >= 0) b = nullptr;
    // The later of two convolutions takes the other's result: then the other is there when it is needed.
    if (a != nullptr && b != nullptr) (level(a->out) >= level(b->out) ? b : a) = nullptr;
    Layer* last = a != nullptr ? a : b;
    if (last == nullptr) refuse(node.label(), "an addition must be behind a convolution that nothing else uses");
    const std::size_t other = a != nullptr ? 1 : 0;
    last->residual = tensor(node, other);
    if ((quantised_.count(node.inputs[other]) > 0) == result_.weights.front().scales.empty())
      refuse(node.label(), "what is added to a convolution must be quantised where the network is, and only there");
    if (shape(last->residual) != shape(last->out)) refuse(node.label(), "its inputs differ in shape");
    int& depth = levels_[static_cast<std::size_t>(last->out)];
    depth = std::max(depth, level(last->residual) + 1);
    values_[node.outputs.front()] = last->out;
  }

  void max_pool(const Node& node) {
    if (square(node, "kernel_shape", 0) != 3 || square(node, "strides", 1) != 2 || square(node, "pads", 0) != 1 ||
        square(node, "dilations", 1) != 1 || number(node, "ceil_mode", 0) != 0 || node.outputs.size() != 1)
      refuse(node.label(), "this engine computes max pooling of 3x3 with stride 2 and padding 1");
    const int in = tensor(node, 0);
    const Shape from = shape(in);
    add_layer(node, LayerKind::kMaxPool, in, {(from.height + 1) / 2, (from.width + 1) / 2, from.channels});
  }

  void average_pool(const Node& node) {
    const int in = tensor(node, 0);
    add_layer(node, LayerKind::kAveragePool, in, {1, 1, shape(in).channels});
  }

  void flatten(const Node& node) {
    const Shape from = shape(tensor(node, 0));
    if (number(node, "axis", 1) != 1 || from.height != 1 || from.width != 1)
      refuse(node.label(), "only the result of the global average may be flattened");
    same(node);
  }

  void gemm(const Node& node) {
    const std::vector<std::int64_t> dims = weight_shape(node);
    const int in = tensor(node, 0);
    if (dims.size() != 2 || number(node, "transB", 0) != 1 || number(node, "transA", 0) != 0 ||
        real(node, "alpha", 1) != 1 || real(node, "beta", 1) != 1)
      refuse(node.label(),
             "the classifier's weights must be stored as [classes, features], used with transB and no factors");
    const int classes = limited(node, dims[0], 1, 1 << 20, "number of classes");
    LayerWeights values = weights(node, {classes, shape(in).channels});
    if (const auto found = subtracted_.find(node.inputs[0]); found != subtracted_.end()) {
      if (values.scales.empty()) refuse(node.label(), "a constant may be subtracted from what is quantised only");
      values.subtracted = found->second;
    }
    add_layer(node, LayerKind::kDense, in, {1, 1, classes}, values);
  }

  void cast(const Node& node) {
    const bool at_border = node.inputs[0] == result_.layers.input || node.outputs[0] == graph_.outputs[0].name;
    const std::int64_t to = number(node, "to", 0);
    if (!at_border || (to != kFloat && to != kFloat16))
      refuse(node.label(), "types may change between float32 and float16 at the input and the output only");
    same(node);
  }

  void same(const Node& node) {
    values_[node.outputs.front()] = tensor(node, 0);
    if (const auto found = subtracted_.find(node.inputs[0]); found != subtracted_.end())
      subtracted_[node.outputs.front()] = found->second;
  }

  /// As ferry quantize writes it in front of the classifier, so that int8's lower half is of use too. The classifier is
  /// of FP16 here and needs no such thing: its bias takes the constant in again.
  void subtract(const Node& node) {
    const Weight& constant = stored(node, input(node, 1));
    float& value = subtracted_[node.outputs.front()];
    const std::string_view raw = values(node, constant, constant.dims, kFloat);
    if (raw.size() != sizeof(value)) refuse(node.label(), "what it subtracts must be one number");
    std::memcpy(&value, raw.data(), sizeof(value));
    same(node);
  }

  /// The first convolution, the average and the classifier compute in FP16 what the graph asks for in INT8. Max pooling
  /// takes the largest of int8 values instead of quantising the largest value, which is the same.
  void finish_scales() {
    Layers& layers = result_.layers;
    const bool int8 = std::any_of(result_.weights.begin(), result_.weights.end(),
                                  [](const LayerWeights& weights) { return !weights.scales.empty(); });
    if (!int8) return;
    scales_.front() = 0;
    for (const Layer& layer : layers.layers) {
      const auto in = static_cast<std::size_t>(layer.in), out = static_cast<std::size_t>(layer.out);
      if (layer.kind == LayerKind::kMaxPool) {
        if (scales_[in] > 0 && scales_[in] != scales_[out])
          refuse("layer '" + layer.name + "'", "what it reads and what it gives are quantised by different scales");
        scales_[in] = scales_[out];
      }
      if (layer.kind == LayerKind::kAveragePool) scales_[in] = scales_[out] = 0;
    }
    layers.scales = scales_;
  }

  void read_output() {
    const GraphPort& port = graph_.outputs.front();
    if (port.dtype != kFloat) refuse("output '" + port.name + "'", "its type must be float32");
    const auto found = values_.find(port.name);
    if (found == values_.end()) refuse("output '" + port.name + "'", "no node makes it");
    result_.layers.output = port.name;
    output_ = found->second;
  }

  void put_in_order() {
    Layers& layers = result_.layers;
    std::vector<std::size_t> order(layers.layers.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return level(layers.layers[a].out) < level(layers.layers[b].out);
    });
    ReadLayers sorted;
    for (const std::size_t i : order) {
      sorted.layers.layers.push_back(layers.layers[i]);
      sorted.weights.push_back(result_.weights[i]);
    }
    layers.layers = std::move(sorted.layers.layers);
    result_.weights = std::move(sorted.weights);
    if (layers.layers.empty() || layers.layers.back().out != output_)
      refuse("output '" + layers.output + "'", "the classifier must be the last of the network");
  }

  const OnnxGraph& graph_;
  ReadLayers result_;
  std::map<std::string, int> uses_, values_;        // by the name in the graph
  std::set<std::string> quantised_;                 // names of int8 values and of what DequantizeLinear makes of them
  std::map<std::string, float> subtracted_;         // by the name of what remains
  std::map<std::string, Int8Weight> int8_weights_;  // by the name of what DequantizeLinear makes of them
  std::vector<int> makers_, levels_;                // of each tensor
  std::vector<float> scales_;                       // of each tensor; 0: not quantised
  int output_ = -1;
};

}  // namespace

ReadLayers read_layers(const OnnxGraph& graph) { return Reader(graph).read(); }

}  // namespace ferry::latency
