#include "onnx/form/channels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ferry/error.h"
#include "ferry/image.h"
#include "onnx/tensor_proto.h"

namespace ferry {

ChannelValues channel_values(const onnx::GraphProto& graph, const GraphForm& form) {
  const auto& type = graph.input(0).type().tensor_type();
  if (type.shape().dim_size() != 4 || type.elem_type() != onnx::TensorProto::FLOAT)
    throw Error(Stage::kOnnx, graph.input(0).name(), "only a float32 image [N,C,H,W] can become pixels",
                "Start from the float32 export.");
  const std::int64_t channels = type.shape().dim(1).dim_value();
  ChannelValues values{form.mean, form.std};
  if (values.mean.empty() && values.std.empty() && channels == 3) {
    const Preprocessing imagenet;
    values = {{imagenet.mean.begin(), imagenet.mean.end()}, {imagenet.std.begin(), imagenet.std.end()}};
  }
  const auto fits = [&](const std::vector<float>& v) { return static_cast<std::int64_t>(v.size()) == channels; };
  if (!fits(values.mean) || !fits(values.std))
    throw Error(Stage::kUsage, "--mean and --std",
                fmt::format("{} and {} values for {} channels", values.mean.size(), values.std.size(), channels),
                "Give one value for each channel: --mean 0.485,0.456,0.406");
  const auto good = [](float v) { return std::isfinite(v); };
  if (!std::all_of(values.mean.begin(), values.mean.end(), good) ||
      !std::all_of(values.std.begin(), values.std.end(), [](float v) { return v > 0 && std::isfinite(v); }))
    throw Error(Stage::kUsage, "--mean and --std", "a mean is no number, or a standard deviation is not above zero");
  return values;
}

onnx::TensorProto per_channel(const std::string& name, const std::vector<double>& values, int onnx_type) {
  const Shape shape{1, static_cast<std::int64_t>(values.size()), 1, 1};
  const Tensor zeros = Tensor::zeros(static_cast<DType>(onnx_type), shape);
  onnx::TensorProto tensor = make_tensor(name, zeros.view());
  set_doubles(tensor, values);
  return tensor;
}

}  // namespace ferry
