// INT8: from a float32 ONNX model and a calibration to a standard ONNX file with QuantizeLinear and DequantizeLinear
// (Q/DQ) around every convolution and the classifier.
//
// Placement is what TensorRT fuses best, and onnxruntime and OpenVINO run too: int8 with zero point 0, one scale for
// each activation, one for each output channel of a weight; Q/DQ at the inputs of convolutions and on the other branch
// of a residual addition, so that convolution + addition + relu become one kernel. Biases stay float32.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ferry/calibrate.h"
#include "ferry/onnx.h"

namespace ferry {

/// The activations that can get a scale, in the graph's order: what `gather` has to look at.
std::vector<std::string> tensors_to_calibrate(const OnnxModel& model);

/// What equalising one group of tensors did: tensors that share their channels' factors, because only operators that
/// let a positive factor through (relu, addition, pooling) lie between them.
struct EqualisedGroup {
  std::vector<std::string> tensors;
  std::vector<double> factors;                    // each channel of these tensors was divided by its factor
  double activation_power = 0, weight_power = 0;  // how far factors follow activations (0 to 1) and weights
  double noise_before = 0, noise_after = 0;       // predicted noise of the group's consumers over their signal
};
/// Scales channels of activations against each other, with the inverse in the weights that read them, so that one scale
/// fits all channels better. The model computes the same function (to rounding). Returns the groups that gain; their
/// tensors no longer fit the calibration then: gather again. Which layers stay in float later makes no difference here.
std::vector<EqualisedGroup> equalise(OnnxModel& model, const Calibration& calibration);

/// Which activations behind relu take all 256 values of int8 in place of 128: rounded as (x - 128 steps), with the
/// constant in the biases around them. Rounding ends where relu would, so that goes.
enum class FullRange {
  kOff,
  kBlocks,  // the outputs of residual blocks and of the global average pooling: costs no time
  kAll,  // what a max pooling behind the stem gives too: TensorRT 10.6 is slower at convolution + pooling without relu
};
const char* name_of(FullRange which) noexcept;        // off, blocks, all
FullRange full_range_named(const std::string& name);  // throws Error(kUsage)

struct QuantizeOptions {
  RangeOptions range;
  bool correct_bias = true;  // take the mean error that rounded weights cause out of each bias
  FullRange full_range = FullRange::kBlocks;
  int first_layer_bits = 7;    // of the weights that meet the picture: 8, or 7 for x86 processors without VNNI too
  std::set<std::string> keep;  // layers that are not quantised: they become FP16 with Casts, if their values fit
};

struct QuantizedNode {
  std::string node, op;
  double input_range = 0;   // the |x| that becomes 127
  bool full_range = false;  // 0 becomes -128: the input has 255 steps
  double weight_noise = 0;  // of the rounded weights, over the signal (predicted)
  bool residual = false;    // fuses with an addition whose other branch is quantised too
};
struct KeptNode {
  std::string node, op, reason;
};
struct QuantizeReport {
  std::vector<QuantizedNode> quantized;
  std::vector<KeptNode> kept;
  std::vector<std::string> notes;  // constant tensors, dead channels
};
/// Inserts Q/DQ. Weights are rounded to the nearest, except those of the convolution that meets the picture: they are
/// rounded together, so that their errors cancel where neighbouring pixels agree (Babai's nearest plane along the
/// pictures' second moments, which is GPTQ, arXiv:2210.17323). Throws Error(kQuantize) if the calibration lacks a
/// tensor or belongs to another model (channels do not fit), if nothing can be quantised, or if `keep` names no layer
/// of the model.
QuantizeReport insert_qdq(OnnxModel& model, const Calibration& calibration, const QuantizeOptions& options);

/// The whole way: statistics of some pictures, equalisation, statistics of all, Q/DQ.
struct QuantizeRequest {
  QuantizeOptions options;
  bool equalise = true;
  CalibrateOptions calibrate;
  std::string backend;  // that runs the float model; empty: the fastest here
  Log log;
};
/// What the pictures said. Kept in a file, it makes a second run with another method need no pictures.
struct CalibrationFile {
  std::string model_sha256;             // of the float model, before equalisation
  std::optional<Calibration> channels;  // of the model as it was; its channels decide the equalisation
  Calibration ranges;                   // of the model that is quantised
};
std::string to_json(const CalibrationFile& file);
CalibrationFile calibration_file_from_json(const std::string& text,
                                           const std::string& path);  // throws Error(kQuantize)
CalibrationFile read_calibration_file(const std::string& path);

/// A part of the way, in the order of the work.
struct StageTime {
  std::string stage;
  double seconds = 0;
};

struct Quantized {
  OnnxModel float_model;  // after equalisation: what the INT8 model approximates
  OnnxModel int8_model;
  CalibrationFile calibration;
  QuantizeReport report;
  std::vector<EqualisedGroup> equalised;
  std::vector<StageTime> stages;
};
/// Runs the pictures through `model`.
Quantized quantize(const OnnxModel& model, const ImageSet& images, const QuantizeRequest& request);
/// The same from a calibration file, without pictures. Throws Error(kQuantize) if it was made for another model.
Quantized quantize(const OnnxModel& model, const CalibrationFile& file, const QuantizeRequest& request);

/// What one layer costs.
struct LayerCost {
  std::string node;
  double relative_error = 0;  // L2 of the outputs with nothing but this layer quantised
  /// For a layer that went back to float: what that costs an image on the engine that checked, in milliseconds: the
  /// repaired model against the same with this layer in INT8 again. Noise may make it negative.
  std::optional<double> milliseconds;
};
struct GateRequest {
  double max_drop = 0.5;  // percentage points of top-1 (labels) or of agreement with the float model (none)
  ImageSet images;
  LoaderOptions loader;
  std::int64_t sensitivity_images = 8;
  std::string backend;
  QuantizeOptions options;
  Progress progress;
  Log log;
};
struct GateResult {
  OnnxModel model;                         // the INT8 model within the limit
  bool passed = false;                     // false: not even with every layer in float
  bool by_labels = false;                  // the drop is of top-1, not of agreement
  double drop_before = 0, drop_after = 0;  // percentage points
  std::vector<LayerCost> costs;            // of every layer, worst first; empty if nothing had to be repaired
  std::vector<std::string> reverted;       // layers that went back to float
  QuantizeReport report;
};
/// Checks the INT8 model on pictures and, if it drops by more than allowed, takes the layers that hurt most back to
/// float: as few as halving finds.
GateResult repair(const Quantized& quantized, const GateRequest& request);

}  // namespace ferry
