#include "quantize/shift.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "ferry/error.h"

namespace ferry {
namespace {

using onnx::NodeProto;

bool pads(const NodeProto& node) {
  if (const onnx::AttributeProto* automatic = find_attribute(node, "auto_pad");
      automatic != nullptr && automatic->s() != "NOTSET" && automatic->s() != "VALID")
    return true;
  const onnx::AttributeProto* found = find_attribute(node, "pads");
  return found != nullptr && std::any_of(found->ints().begin(), found->ints().end(), [](auto p) { return p != 0; });
}

class Finder {
 public:
  Finder(const GraphIndex& index, const onnx::GraphProto& graph, const LayerPlan& plan, FullRange which)
      : index_(index), stem_(which == FullRange::kAll) {
    for (const QuantizedLayer& layer : plan.layers) layer_of_[&graph.node(layer.index)] = &layer;
  }

  std::optional<Shift> shift(const std::string& tensor) const {
    if (!read_by_layers(tensor)) return std::nullopt;
    return of_average(tensor) ? Shift{tensor, index_.unused_name(tensor + "_shifted"), {}, {}, {}} : of_block(tensor);
  }

 private:
  const QuantizedLayer* layer(const NodeProto* node) const {
    const auto found = layer_of_.find(node);
    return found == layer_of_.end() ? nullptr : found->second;
  }

  // Read once, and inside of the graph only.
  bool alone(const std::string& value) const { return index_.consumers(value).size() == 1 && !index_.is_output(value); }

  const NodeProto* relu(const std::string& value) const {
    const NodeProto* node = index_.producer(value);
    return node != nullptr && node->op_type() == "Relu" ? node : nullptr;
  }

  bool of_average(const std::string& tensor) const {
    const NodeProto* node = index_.producer(tensor);
    while (node != nullptr &&
           (node->op_type() == "Flatten" || node->op_type() == "Reshape" || node->op_type() == "Squeeze"))
      node = index_.producer(node->input(0));
    return node != nullptr && is_global_average(*node) && relu(node->input(0)) != nullptr;
  }

  std::optional<Shift> of_block(const std::string& tensor) const {
    const NodeProto* last = index_.producer(tensor);
    const bool pooled = last != nullptr && last->op_type() == "MaxPool";
    if (pooled && !stem_) return std::nullopt;
    const NodeProto* clipped = relu(pooled ? last->input(0) : tensor);
    if (clipped == nullptr || !alone(clipped->input(0)) || (pooled && !alone(clipped->output(0)))) return std::nullopt;
    const NodeProto* before = index_.producer(clipped->input(0));
    if (before == nullptr || (!pooled && before->op_type() != "Add")) return std::nullopt;
    const QuantizedLayer* writer = before->op_type() == "Add" ? fused(*before) : layer(before);
    if (writer == nullptr || !writer->takes_bias) return std::nullopt;
    const std::string& made = pooled ? tensor : clipped->input(0);
    return Shift{made, made, clipped->output(0), clipped->input(0), writer->node};
  }

  // The layer whose other branch is quantised for this addition.
  const QuantizedLayer* fused(const NodeProto& add) const {
    for (int i = 0; i < add.input_size(); ++i)
      if (const QuantizedLayer* found = layer(index_.producer(add.input(i))))
        if (add.input_size() == 2 && found->residual == add.input(1 - i)) return found;
    return nullptr;
  }

  bool read_by_layers(const std::string& tensor) const {
    const std::vector<NodeProto*>& readers = index_.consumers(tensor);
    return !readers.empty() && !index_.is_output(tensor) &&
           std::all_of(readers.begin(), readers.end(), [&](auto* reader) {
             const QuantizedLayer* by = reader->op_type() == "Add" ? fused(*reader) : layer(reader);
             if (by == nullptr || !by->takes_bias) return false;
             return reader->op_type() == "Add" ? by->residual == tensor : by->input == tensor && !pads(*reader);
           });
  }

  const GraphIndex& index_;
  bool stem_;
  std::unordered_map<const NodeProto*, const QuantizedLayer*> layer_of_;
};

}  // namespace

const char* name_of(FullRange which) noexcept {
  switch (which) {
    case FullRange::kOff:
      return "off";
    case FullRange::kBlocks:
      return "blocks";
    case FullRange::kAll:
      return "all";
  }
  return "?";
}

FullRange full_range_named(const std::string& name) {
  for (const FullRange which : {FullRange::kOff, FullRange::kBlocks, FullRange::kAll})
    if (name == name_of(which)) return which;
  throw Error(Stage::kUsage, name, "says not which activations take the full range", "One of off, blocks, all.");
}

std::unordered_map<std::string, Shift> find_shifts(const GraphIndex& index, const onnx::GraphProto& graph,
                                                   const LayerPlan& plan, FullRange which) {
  std::unordered_map<std::string, Shift> found;
  if (which == FullRange::kOff) return found;
  const Finder finder(index, graph, plan, which);
  for (const std::string& tensor : plan.tensors())
    if (std::optional<Shift> shift = finder.shift(tensor)) found.emplace(tensor, std::move(*shift));
  return found;
}

bool fits_full_range(const TensorStatistics& statistics, double range) {
  constexpr double kMany = 0.05;
  if (range <= 0) return false;
  const auto first = std::min(statistics.bins.size(), static_cast<std::size_t>(range / 2 / statistics.bin_width));
  const std::uint64_t large = std::accumulate(statistics.bins.begin() + static_cast<std::ptrdiff_t>(first),
                                              statistics.bins.end(), std::uint64_t{0});
  return static_cast<double>(large) <= kMany * static_cast<double>(statistics.count);
}

}  // namespace ferry
