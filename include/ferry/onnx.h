// ONNX models: making them from a ResNet, loading anyone's, rewriting, checking, saving.
//
// Format: onnx.ai, IR version 8, opset 17 for what ferry writes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ferry/form.h"
#include "ferry/resnet.h"
#include "ferry/tensor.h"

namespace ferry {

/// Precision of weights and arithmetic. Inputs and outputs stay FP32 unless asked otherwise.
enum class Precision { kFp32, kFp16, kInt8 };
const char* name_of(Precision precision) noexcept;   // "fp32", "fp16", "int8"
Precision precision_named(const std::string& name);  // throws Error(kUsage)

struct ExportOptions {
  Precision precision = Precision::kFp32;  // kFp32 or kFp16; kInt8 comes from quantize.h
  bool fp16_io = false;                    // with kFp16: input and output are FP16 too
  bool keep_batch_norm = false;            // false: folded into the convolutions in double precision
  int height = 224, width = 224;
  GraphForm form;  // pixels in, top-k out, ...
  /// Stands in the file beside ferry's own entries, e.g. {"preprocessing", "imagenet"}.
  std::vector<std::pair<std::string, std::string>> metadata;
};

/// Name and type of a graph input or output; -1 is a dynamic dimension (the batch).
struct Port {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
};

/// What is in a model, for people and for checks.
struct OnnxSummary {
  std::vector<Port> inputs, outputs;
  std::int64_t ir_version = 0, opset = 0;
  std::string producer;
  std::vector<std::pair<std::string, int>> operators;  // operator type and count, most frequent first
  std::int64_t parameters = 0;                         // elements of all weights
  Precision precision = Precision::kFp32;              // kInt8 if Q/DQ nodes are present, kFp16 if weights are FP16
  std::vector<std::pair<std::string, std::string>> metadata;
};

/// An ONNX model in memory. Move-only. Not thread-safe while being changed.
class OnnxModel {
 public:
  /// Loads and checks a file (external data beside it is read too). Throws Error(kOnnx).
  static OnnxModel load(const std::string& path);
  /// The same from bytes; `name` stands in messages.
  static OnnxModel from_bytes(const std::string& bytes, const std::string& name);
  OnnxModel(OnnxModel&&) noexcept;
  OnnxModel& operator=(OnnxModel&&) noexcept;
  ~OnnxModel();

  OnnxModel clone() const;
  OnnxSummary summary() const;
  /// ONNX checker and full shape inference; throws Error(kOnnx) naming the node.
  void check() const;
  /// Writes to a temporary name, re-reads, renames. Returns the SHA-256 of the file.
  std::string save(const std::string& path) const;
  std::string serialize() const;

  /// What the passes work on; defined in src/onnx/model_impl.h (holds the protobuf).
  struct Impl;
  explicit OnnxModel(std::unique_ptr<Impl> impl);
  Impl& impl() noexcept { return *impl_; }
  const Impl& impl() const noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// The graph of a ResNet: input `input` [N,C,H,W], output `output` [N,classes], N dynamic. Node names are the names of
/// the modules they come from (`layer3.22.conv2`), weights are called as in the checkpoint (docs/onnx.md). Throws
/// Error(kOnnx) naming a weight that does not survive (NaN, or beyond FP16).
OnnxModel export_onnx(const ResNet& network, const ExportOptions& options = {});
/// The same, freeing each weight as soon as the model has it: peak memory is one copy of the network.
OnnxModel export_onnx(ResNet&& network, const ExportOptions& options = {});

/// Makes any image model usable by ferry: one image input and one output, dynamic batch, every opset from 11 to 26
/// rewritten as 17, constants folded where needed, names kept. What cannot be handled is refused by node name
/// (Error(kOnnx)).
struct ImportReport {
  std::vector<std::string> changes;  // what was rewritten, for people
};
ImportReport prepare_foreign(OnnxModel& model);

// Passes: each does one thing, returns how many places it changed.
/// Folds BatchNormalization that follows a convolution into its weights and bias, in double precision.
int fold_batch_norm(OnnxModel& model);
/// Converts weights and arithmetic to FP16. With `keep_io`, Casts keep FP32 inputs and outputs. A weight that would
/// become infinite is an Error(kOnnx) naming it.
int convert_to_fp16(OnnxModel& model, bool keep_io);

}  // namespace ferry
