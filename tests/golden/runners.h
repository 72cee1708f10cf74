// Runs an ONNX model with somebody else's code: ONNX Runtime (in Python), and OpenVINO where its module is built.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ferry/onnx.h"

namespace ferry::test {

/// A folder that goes when the object goes.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Why there is no ONNX Runtime; empty if there is.
std::string missing_onnxruntime();
/// Checks the model with Python's onnx (full_check), then runs it. Outputs in the model's order, as float32.
std::vector<Tensor> run_onnxruntime(const OnnxModel& model, const Tensor& input);
/// The model's first output for the first n images, for each n.
std::vector<Tensor> run_onnxruntime_batches(const OnnxModel& model, const Tensor& input,
                                            const std::vector<std::int64_t>& batches);
/// The same with the OpenVINO module; nothing where it is not usable.
std::optional<std::vector<Tensor>> run_openvino(const OnnxModel& model, const Tensor& input);

/// A Python that imports torch and torchvision ($FERRY_TORCH_PYTHON or /usr/bin/python3); empty if there is none.
std::string torch_python();
/// Runs a command; its output is shown only if it fails.
bool run_command(const std::string& command);

/// ||a - b|| / ||b||; NaN if one of them is, or if the shapes differ.
double relative_error(const Tensor& a, const Tensor& b);

}  // namespace ferry::test
