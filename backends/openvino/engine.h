// A compiled model and what is known about it.
#pragma once

#include <nlohmann/json.hpp>
#include <openvino/openvino.hpp>
#include <string>
#include <vector>

#include "module/module.h"

namespace ferry::openvino {

/// The useful part of an OpenVINO message: without the file names and conditions of its source.
std::string clean_message(const std::string& what);

/// "2026.4.1", of the library that is loaded and of the headers.
std::string version();
std::string compiled_against();

/// Reads an ONNX model from memory and compiles it for the CPU. Throws Failure.
ov::CompiledModel compile(const void* onnx, std::size_t size, int threads, const ferry_log& log);

/// What `io` writes.
nlohmann::json describe_engine(const ov::CompiledModel& model);

/// The C interface's number of an element type; throws Failure for one that it does not have.
std::int32_t dtype_of(const ov::element::Type& type);

}  // namespace ferry::openvino

struct ferry_engine {
  ov::CompiledModel model;
};

struct ferry_session {
  explicit ferry_session(ov::CompiledModel& model);
  void staging(std::int64_t batch, void** inputs, void** outputs);
  /// Runs in the caller's memory: nothing is copied on the way in or out.
  void run(std::int64_t batch, const void* const* inputs, void* const* outputs);

  bool running = false;
  double compute_ms = 0;

 private:
  ov::InferRequest request_;
  std::vector<ov::Output<const ov::Node>> inputs_, outputs_;
  std::vector<const void*> bound_inputs_, bound_outputs_;  // what the request holds now
  std::int64_t bound_batch_ = 0;
  std::vector<ov::Tensor> staging_inputs_, staging_outputs_;
};
