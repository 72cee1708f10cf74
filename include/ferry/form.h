// How a picture goes into a graph and how its answer comes out: what serving wants differs from what a network was
// trained with, and the graph itself can do the difference.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ferry/tensor.h"

namespace ferry {

class OnnxModel;

enum class InputForm {
  kFloat,      // float32 [N,C,H,W], normalised by whoever makes it: what torchvision's networks take
  kUint8Nhwc,  // uint8 [N,H,W,C], pixels as decoders give them
  kUint8Nchw,  // uint8 [N,C,H,W]
};

/// The form of a graph. The default is the network's own: normalised floats in, one score a class out.
struct GraphForm {
  InputForm input = InputForm::kFloat;
  /// Of uint8 input, one a channel: the network gets (pixel / 255 - mean) / std. Empty: ImageNet's.
  std::vector<float> mean, std;
  /// K > 0: outputs `probabilities` float32 [N,K] (softmax over all classes, best first) and `classes` int32 [N,K]
  /// instead of the scores.
  int top_k = 0;
  int classes = 0;               // with top_k: of how many; known once the form is attached
  int pad_channels = 0;          // the first convolution gets so many input channels, those beyond the picture's zero
  bool conv_classifier = false;  // the last Gemm as a 1x1 convolution

  bool operator==(const GraphForm&) const = default;
};

bool is_default(const GraphForm& form);
/// "float32 normalised in, scores out" and the like, for people.
std::string to_string(const GraphForm& form);

/// One line of JSON: the value of the metadata key `ferry.form` and of the sidecar's `form` (docs/onnx.md).
std::string to_json(const GraphForm& form);
/// Throws Error(kOnnx) naming `subject`.
GraphForm form_from_json(const std::string& text, const std::string& subject);
/// Of a model's metadata: the default form if it says nothing.
GraphForm form_of(const std::vector<std::pair<std::string, std::string>>& metadata, const std::string& subject);

/// What of a form changes weights: 1/(255 std) multiplied into the first convolution in double precision (a Mul where
/// no convolution alone reads the picture), zero channels, the classifier. Before convert_to_fp16 and after folding
/// batch norm. Throws Error(kOnnx) where the graph does not allow it.
void fold_form(OnnxModel& model, const GraphForm& form);
/// What of a form changes ports, and the metadata. The last of all passes. The mean is subtracted from the pixels in
/// FP32 before the first convolution, so that its zero padding still stands for a normalised value of zero: exact at
/// the border too. Throws Error(kOnnx) where the graph does not allow it.
void attach_form(OnnxModel& model, const GraphForm& form);

/// What the network gets for these pixels: float32 [N,C,H,W], computed in double. `pixels` has the form's layout.
/// Throws Error(kRun) if they do not fit the form, which is one with uint8 input.
Tensor normalise_pixels(const TensorView& pixels, const GraphForm& form);
/// The inverse, rounded and clamped to 0..255: exact for what normalise_pixels made.
Tensor pixels_of(const TensorView& normalised, const GraphForm& form);

}  // namespace ferry
