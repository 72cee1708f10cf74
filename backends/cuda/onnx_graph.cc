#include "cuda/onnx_graph.h"

#include <algorithm>

#include "cuda/wire.h"
#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

// Field numbers of onnx.proto.
namespace model {
constexpr int kGraph = 7;
}
namespace graph {
constexpr int kNode = 1, kInitializer = 5, kInput = 11, kOutput = 12;
}
namespace node {
constexpr int kInput = 1, kOutput = 2, kName = 3, kOp = 4, kAttribute = 5;
}
namespace attribute {
constexpr int kName = 1, kFloatValue = 2, kInt = 3, kString = 4, kInts = 8;
}
namespace tensor {
constexpr int kDims = 1, kType = 2, kName = 8, kRaw = 9;
}

void read_attribute(std::string_view bytes, Node& to) {
  std::string name;
  Attribute value;
  for (Wire wire(bytes); wire.next();) {
    switch (wire.field()) {
      case attribute::kName:
        name = wire.text();
        break;
      case attribute::kFloatValue:
        value.f = wire.real();
        break;
      case attribute::kInt:
        value.i = wire.integer();
        break;
      case attribute::kString:
        value.s = wire.text();
        break;
      case attribute::kInts:
        wire.append_to(value.ints);
        break;
      default:
        break;
    }
  }
  to.attributes[name] = std::move(value);
}

Node read_node(std::string_view bytes) {
  Node result;
  for (Wire wire(bytes); wire.next();) {
    switch (wire.field()) {
      case node::kInput:
        result.inputs.push_back(wire.text());
        break;
      case node::kOutput:
        result.outputs.push_back(wire.text());
        break;
      case node::kName:
        result.name = wire.text();
        break;
      case node::kOp:
        result.op = wire.text();
        break;
      case node::kAttribute:
        read_attribute(wire.bytes(), result);
        break;
      default:
        break;
    }
  }
  return result;
}

Weight read_weight(std::string_view bytes) {
  Weight weight;
  for (Wire wire(bytes); wire.next();) {
    switch (wire.field()) {
      case tensor::kDims:
        wire.append_to(weight.dims);
        break;
      case tensor::kType:
        weight.dtype = static_cast<int>(wire.integer());
        break;
      case tensor::kName:
        weight.name = wire.text();
        break;
      case tensor::kRaw:
        weight.raw = wire.bytes();
        break;
      default:
        break;
    }
  }
  return weight;
}

/// ValueInfoProto{1: name, 2: TypeProto{1: tensor{1: type, 2: shape{1: dim{1: value}}}}}
GraphPort read_port(std::string_view bytes) {
  GraphPort port;
  const auto read_shape = [&port](std::string_view shape) {
    for (Wire wire(shape); wire.next();) {
      if (wire.field() != 1) continue;
      port.dims.push_back(-1);
      for (Wire dim(wire.bytes()); dim.next();)
        if (dim.field() == 1) port.dims.back() = dim.integer();
    }
  };
  const auto read_tensor_type = [&](std::string_view type) {
    for (Wire wire(type); wire.next();) {
      if (wire.field() == 1) port.dtype = static_cast<int>(wire.integer());
      if (wire.field() == 2) read_shape(wire.bytes());
    }
  };
  for (Wire wire(bytes); wire.next();) {
    if (wire.field() == 1) port.name = wire.text();
    if (wire.field() != 2) continue;
    for (Wire type(wire.bytes()); type.next();)
      if (type.field() == 1) read_tensor_type(type.bytes());
  }
  return port;
}

OnnxGraph read_graph(std::string_view bytes) {
  OnnxGraph result;
  for (Wire wire(bytes); wire.next();) {
    switch (wire.field()) {
      case graph::kNode:
        result.nodes.push_back(read_node(wire.bytes()));
        break;
      case graph::kInitializer: {
        Weight weight = read_weight(wire.bytes());
        std::string name = weight.name;
        result.weights[std::move(name)] = std::move(weight);
        break;
      }
      case graph::kInput:
        result.inputs.push_back(read_port(wire.bytes()));
        break;
      case graph::kOutput:
        result.outputs.push_back(read_port(wire.bytes()));
        break;
      default:
        break;
    }
  }
  std::erase_if(result.inputs, [&](const GraphPort& port) { return result.weights.count(port.name) > 0; });
  return result;
}

}  // namespace

std::string Node::label() const {
  const std::string& shown = name.empty() && !outputs.empty() ? outputs.front() : name;
  return "node '" + shown + "' (" + op + ")";
}

OnnxGraph read_onnx(std::string_view bytes) {
  for (Wire wire(bytes); wire.next();)
    if (wire.field() == model::kGraph) return read_graph(wire.bytes());
  throw nvinfer::Failure("ONNX", "the model has no graph", "check the file with: ferry inspect FILE");
}

}  // namespace ferry::latency
