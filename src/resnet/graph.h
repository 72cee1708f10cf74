// The ONNX graph of a ResNet.
#pragma once

#include <functional>

#include "ferry/resnet.h"
#include "onnx/graph_writer.h"

namespace ferry {

/// Gives the weight of that name. Called once a weight, in the order of the graph.
using WeightSource = std::function<const Tensor&(const std::string& name)>;

/// Writes the network, batch norms included, from input `input` [N,C,height,width] to output `output` [N,classes].
void write_resnet(const ResNetArchitecture& network, const WeightSource& weights, int height, int width,
                  GraphWriter& graph);

}  // namespace ferry
