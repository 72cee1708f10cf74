// ResNets with seeded weights as ferry exports them, and plans of them.
#pragma once

#include <map>
#include <string>

#include "ferry/onnx.h"
#include "ferry/resnet.h"

namespace ferry::latency {

/// FP16, made once for each name and size.
inline const std::string& resnet_onnx(const std::string& name, int size) {
  static std::map<std::string, std::string> models;
  std::string& model = models[name + std::to_string(size)];
  if (model.empty()) {
    ResNetArchitecture architecture;  // "narrow": every kind of layer, few weights, channels that are no power of two
    if (name == "narrow") {
      architecture.depths = {1, 2, 1, 1};
      architecture.planes = architecture.widths = {16, 16, 24, 32};
      architecture.stem_channels = 16;
      architecture.num_classes = 24;
    } else {
      architecture = architecture_named(name);
    }
    ExportOptions options;
    options.precision = Precision::kFp16;
    options.height = options.width = size;
    model = export_onnx(random_resnet(architecture, 7), options).serialize();
  }
  return model;
}

}  // namespace ferry::latency
