#include "cuda/layers.h"

#include <algorithm>
#include <map>

#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

using nvinfer::Failure;

[[noreturn]] void refuse(const std::string& subject, const std::string& why) {
  throw Failure(subject, subject + ": " + why,
                "this engine runs ResNets as ferry exports them; others: --backend tensorrt", FERRY_UNSUPPORTED);
}

int limited(const Node& node, std::int64_t value, std::int64_t low, std::int64_t high, const char* what) {
  if (value < low || value > high)
    refuse(node.label(), std::string(what) + " is " + std::to_string(value) + ", and must be from " +
                             std::to_string(low) + " to " + std::to_string(high));
  return static_cast<int>(value);
}

/// Both numbers of a list attribute where they are the same, `otherwise` where it is absent.
std::int64_t square(const Node& node, const char* name, std::int64_t otherwise) {
  const auto found = node.attributes.find(name);
  if (found == node.attributes.end() || found->second.ints.empty()) return otherwise;
  const auto& values = found->second.ints;
  for (const std::int64_t value : values)
    if (value != values.front()) refuse(node.label(), std::string(name) + " differ between directions");
  return values.front();
}

std::int64_t number(const Node& node, const char* name, std::int64_t otherwise) {
  const auto found = node.attributes.find(name);
  return found == node.attributes.end() ? otherwise : found->second.i;
}

float real(const Node& node, const char* name, float otherwise) {
  const auto found = node.attributes.find(name);
  return found == node.attributes.end() ? otherwise : found->second.f;
}

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
        {"Conv", &Reader::conv},        {"Relu", &Reader::relu},       {"Add", &Reader::add},
        {"MaxPool", &Reader::max_pool}, {"Flatten", &Reader::flatten}, {"GlobalAveragePool", &Reader::average_pool},
        {"Gemm", &Reader::gemm},        {"Cast", &Reader::cast},       {"Identity", &Reader::same}};
    const auto found = readers.find(node.op);
    if (found != readers.end()) {
      (this->*found->second)(node);
    } else if (node.op == "BatchNormalization") {
      refuse(node.label(),
             "batch norm must be folded into the convolutions (ferry export does, without --keep-batch-norm)");
    } else if (node.op == "QuantizeLinear" || node.op == "DequantizeLinear") {
      refuse(node.label(), "this engine computes in FP16 and takes no quantised graph yet");
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
    if (found == values_.end() || uses_[name] != 1) return nullptr;
    const int maker = makers_[static_cast<std::size_t>(found->second)];
    if (maker < 0) return nullptr;
    Layer& layer = result_.layers.layers[static_cast<std::size_t>(maker)];
    return layer.kind == LayerKind::kConv && !layer.relu ? &layer : nullptr;
  }

  const Weight& weight(const Node& node, std::size_t input, std::vector<std::int64_t> dims) const {
    const std::string name = input < node.inputs.size() ? node.inputs[input] : "";
    const auto found = graph_.weights.find(name);
    if (found == graph_.weights.end()) refuse(node.label(), "its weights '" + name + "' are not stored in the model");
    const Weight& w = found->second;
    if (w.dtype == kFloat)
      throw Failure(node.label(), node.label() + " has float32 weights, and this engine computes in FP16",
                    "export with --precision fp16", FERRY_UNSUPPORTED);
    if (w.dtype != kFloat16) refuse(node.label(), "its weights '" + name + "' must be float16");
    std::size_t size = 2;
    for (const std::int64_t d : dims) size *= static_cast<std::size_t>(d);
    if (w.dims != dims || w.raw.size() != size)
      refuse(node.label(), "its weights '" + name + "' have another shape than its input and attributes need");
    return w;
  }
  std::string_view bias(const Node& node, std::int64_t channels) const {
    return node.inputs.size() < 3 || node.inputs[2].empty() ? std::string_view() : weight(node, 2, {channels}).raw;
  }

  // -- nodes
  void conv(const Node& node) {
    const auto found = graph_.weights.find(node.inputs.size() > 1 ? node.inputs[1] : "");
    if (found == graph_.weights.end() || found->second.dims.size() != 4)
      refuse(node.label(), "its weights must be stored in the model with four dimensions");
    const auto& dims = found->second.dims;
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
    const LayerWeights weights{weight(node, 1, {channels, from.channels, kernel, kernel}).raw, bias(node, channels)};
    Layer& layer = add_layer(node, LayerKind::kConv, in, to, weights);
    layer.kernel = kernel;
    layer.stride = static_cast<int>(stride);
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
    last->residual = tensor(node, a != nullptr ? 1 : 0);
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
    const auto found = graph_.weights.find(node.inputs.size() > 1 ? node.inputs[1] : "");
    const int in = tensor(node, 0);
    if (found == graph_.weights.end() || found->second.dims.size() != 2 || number(node, "transB", 0) != 1 ||
        number(node, "transA", 0) != 0 || real(node, "alpha", 1) != 1 || real(node, "beta", 1) != 1)
      refuse(node.label(),
             "the classifier's weights must be stored as [classes, features], used with transB and no factors");
    const int classes = limited(node, found->second.dims[0], 1, 1 << 20, "number of classes");
    add_layer(node, LayerKind::kDense, in, {1, 1, classes},
              {weight(node, 1, {classes, shape(in).channels}).raw, bias(node, classes)});
  }

  void cast(const Node& node) {
    const bool at_border = node.inputs[0] == result_.layers.input || node.outputs[0] == graph_.outputs[0].name;
    const std::int64_t to = number(node, "to", 0);
    if (!at_border || (to != kFloat && to != kFloat16))
      refuse(node.label(), "types may change between float32 and float16 at the input and the output only");
    same(node);
  }

  void same(const Node& node) { values_[node.outputs.front()] = tensor(node, 0); }

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
  std::map<std::string, int> uses_, values_;  // by the name in the graph
  std::vector<int> makers_, levels_;          // of each tensor
  int output_ = -1;
};

}  // namespace

ReadLayers read_layers(const OnnxGraph& graph) { return Reader(graph).read(); }

}  // namespace ferry::latency
