// What the conformance checks work on: one backend, one precision, the same narrow network everywhere.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ferry/backend.h"
#include "ferry/compare.h"
#include "ferry/error.h"

namespace ferry::conformance {

inline constexpr std::int64_t kMaxBatch = 8;  // of the engines that are built with a profile

/// A narrow bottleneck network on 64x64 pictures: every kind of layer of a ResNet, and quick to build.
const ResNet& network();
/// Its ONNX in "fp32" or "fp16", with float32 input and output.
const std::string& onnx(const std::string& precision);
/// Normal values, [batch, 3, 64, 64]; row i is the same whatever the batch.
Tensor input(std::int64_t batch);

/// Backends by name, and why one cannot be checked.
struct Subject {
  std::string skipped;  // empty: `engine` is open
  std::optional<Backend> backend;
  std::optional<Engine> engine;
  std::string bytes;  // the plan or the ONNX that was opened
};
/// Opens (building first where the backend has engine files) once per process.
const Subject& subject(const std::string& backend, const std::string& precision);

/// LibTorch on the CPU in FP32 where it is there, else OpenVINO; nothing without either.
struct Referee {
  std::string name;
  Engine engine;
};
const std::optional<Referee>& referee();

/// Backends that this source tree knows, the fake one first, then what else the search path holds.
std::vector<std::string> backend_names();

}  // namespace ferry::conformance
