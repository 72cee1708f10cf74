// A network as this engine sees it: convolutions with everything that follows them fused in, pools, one classifier.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/onnx_graph.h"

namespace ferry::latency {

enum class LayerKind { kConv, kMaxPool, kAveragePool, kDense };

struct Shape {
  int height = 0, width = 0, channels = 0;
  bool operator==(const Shape&) const = default;
};

/// Tensors are numbered; number 0 is the network's input, and the last layer's `out` is its output.
struct Layer {
  LayerKind kind = LayerKind::kConv;
  std::string name;  // of its first node
  int in = 0, out = 0;
  int residual = -1;           // a tensor that is added before `relu`
  int kernel = 1, stride = 1;  // of a convolution
  bool relu = false;
};

struct Layers {
  std::string input, output;   // the names outside
  std::int64_t batch = -1;     // where the graph fixes it
  std::vector<Shape> tensors;  // of one image
  std::vector<float>
      scales;  // of an INT8 network, one for each tensor: int8 of this scale, or 0: as in an FP16 network
  std::vector<Layer> layers;  // in an order in which they can run

  const Shape& in(const Layer& layer) const { return tensors[static_cast<std::size_t>(layer.in)]; }
  const Shape& out(const Layer& layer) const { return tensors[static_cast<std::size_t>(layer.out)]; }
  bool int8() const { return !scales.empty(); }
  float scale(int tensor) const { return scales.empty() ? 0 : scales[static_cast<std::size_t>(tensor)]; }
};

/// A layer's values in the model's bytes, in ONNX's order; empty where it has none.
struct LayerWeights {
  std::string_view weights;
  std::vector<float> scales;  // of int8 weights, one for each output channel; empty: float16 weights
  std::string_view bias;      // float32 beside int8 weights, else float16
  float subtracted = 0;       // what the graph takes off the classifier's input, and this engine does not
};

struct ReadLayers {
  Layers layers;
  std::vector<LayerWeights> weights;  // one for each layer
};

/// Throws nvinfer::Failure (FERRY_UNSUPPORTED) naming the first node that this engine does not compute.
ReadLayers read_layers(const OnnxGraph& graph);

/// Throws nvinfer::Failure unless the layers are what the kernels compute: shapes that follow from each other, tensors
/// that are made before they are used, sizes within limits. For plans, whose bytes may be anything.
void check_layers(const Layers& layers);

/// The layers by phase: those of one phase (at most two, and two only if both are convolutions) do not depend on each
/// other, and each phase only on earlier ones.
std::vector<std::vector<int>> schedule(const Layers& layers);

}  // namespace ferry::latency
