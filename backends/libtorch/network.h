// torchvision's ResNet in eval mode, call by call as torchvision makes them: convolution, batch norm and ReLU apart.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend_abi.h"

namespace ferry::libtorch {

/// As in `open`'s architecture_json.
struct Architecture {
  bool bottleneck = true;
  std::array<std::int64_t, 4> depths{}, planes{}, widths{};
  std::int64_t groups = 1, stem_channels = 64, input_channels = 3, num_classes = 1000;

  static Architecture parse(const char* json);
  std::int64_t expansion() const { return bottleneck ? 4 : 1; }
};

/// How weights and activations are kept.
struct Placement {
  at::Device device = at::kCPU;
  at::ScalarType type = at::kFloat;
  at::MemoryFormat format = at::MemoryFormat::Contiguous;
};

class Network {
 public:
  /// Copies the weights to their place. Throws Failure naming a tensor that is missing or has another shape.
  Network(const Architecture& architecture, const ferry_tensor* weights, std::size_t count, const Placement& placement);

  /// float32 [n, C, H, W] on the placement's device -> float32 [n, classes].
  at::Tensor forward(const at::Tensor& input) const;

  int layers() const noexcept { return layers_; }
  std::int64_t bytes() const noexcept { return bytes_; }

 private:
  struct BatchNorm {
    at::Tensor weight, bias, mean, variance;
  };
  struct Convolution {
    at::Tensor weight;
    std::int64_t stride, padding, groups;
    BatchNorm norm;
  };
  struct Block {
    std::vector<Convolution> path;
    std::optional<Convolution> shortcut;
  };
  struct ConvolutionShape {
    std::int64_t in, out, kernel, stride, groups;
  };
  using Given = std::map<std::string_view, const ferry_tensor*>;

  at::Tensor take(const Given& given, const std::string& name, at::IntArrayRef shape);
  BatchNorm take_norm(const Given& given, const std::string& name, std::int64_t channels);
  Convolution take_convolution(const Given& given, const std::string& convolution, const std::string& norm,
                               const ConvolutionShape& shape);
  Block take_block(const Given& given, const Architecture& a, const std::string& name, std::size_t stage,
                   std::int64_t in, std::int64_t stride);

  Placement placement_;
  Convolution stem_;
  std::vector<Block> blocks_;
  at::Tensor fc_weight_, fc_bias_;
  int layers_ = 0;
  std::int64_t bytes_ = 0;
};

}  // namespace ferry::libtorch
