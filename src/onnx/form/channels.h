// Mean and standard deviation of each channel of a graph's picture.
#pragma once

#include <onnx/onnx_pb.h>

#include <string>
#include <vector>

#include "ferry/form.h"

namespace ferry {

struct ChannelValues {
  std::vector<float> mean, std;
};

/// The form's, or ImageNet's where it has none. Throws Error(kUsage) if they do not fit the channels of the graph's
/// float input [N,C,H,W], or a std is not above 0.
ChannelValues channel_values(const onnx::GraphProto& graph, const GraphForm& form);

/// A constant [1,C,1,1] of an ONNX floating-point type.
onnx::TensorProto per_channel(const std::string& name, const std::vector<double>& values, int onnx_type);

}  // namespace ferry
