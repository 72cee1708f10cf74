// Which layers of a float model become INT8, which tensors that quantises, and why the others stay as they are.
#pragma once

#include <onnx/onnx_pb.h>

#include <set>
#include <string>
#include <vector>

#include "ferry/onnx.h"
#include "onnx/graph_index.h"

namespace ferry {

struct QuantizedLayer {
  int index = 0;            // of the node in the graph
  std::string node, op;     // name and operator
  std::string input;        // the activation that is quantised in front of it
  std::string weight;       // an initialiser
  int channel_axis = 0;     // of the weight: its output channels
  bool takes_bias = false;  // it has a constant one of float32, or can get one
  std::string residual;     // the other branch of the addition that this convolution fuses with; empty: none
  std::string pooled;  // what this convolution (with addition and relu) writes for a global average pooling; or empty
};

struct FloatLayer {
  std::string node, op, reason;
};

struct LayerPlan {
  std::vector<QuantizedLayer> layers;  // in the graph's order
  std::vector<FloatLayer> kept;        // convolutions and matrix products only
  /// Every tensor that gets a scale, in the graph's order, each once.
  std::vector<std::string> tensors() const;
};

/// One that takes the mean over height and width.
bool is_global_average(const onnx::NodeProto& node);

/// Convolutions, Gemm and MatMul with float32 constant weights. `keep` names nodes that stay in float.
LayerPlan plan_layers(const OnnxModel& model, const std::set<std::string>& keep = {});

}  // namespace ferry
