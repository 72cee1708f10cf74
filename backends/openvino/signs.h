// Quantised activations that cannot be negative, without their sign.
#pragma once

#include <openvino/core/model.hpp>

namespace ferry::openvino {

/// ONNX files for TensorRT quantise to int8 with zero point 0, also behind relu, where the lower half is of no use. For
/// x86 processors the CPU plugin multiplies unsigned by signed bytes: it shifts such activations by 128, and where
/// there is no VNNI adds up pairs of products in 16 bits, which 255 * 127 * 2 overflows. So each such quantisation
/// becomes one to uint8 with the same step, cut at the 127 steps at which int8 ends: the same numbers, and
/// 127 * 127 * 2 fits. Returns how many were changed. The model must be one that OpenVINO's ONNX reader made.
int drop_signs(const std::shared_ptr<ov::Model>& model);

}  // namespace ferry::openvino
