// The one exception type of ferry.
//
// Every failure names the stage it happened in, the thing it happened to (a file, a tensor, a node), the cause, and
// what to do about it. The library never prints and never exits; the `ferry` tool turns an Error into one message.
#pragma once

#include <stdexcept>
#include <string>

namespace ferry {

/// Stages in the order of the data flow. The tool prints `stage_name(stage)` in front of a message.
enum class Stage {
  kUsage,       // the request itself is wrong (the tool exits with 2)
  kFetch,       // download of published weights
  kCheckpoint,  // reading .pth / .pt / .safetensors
  kModel,       // recognising the network in the weights
  kOnnx,        // making, loading, checking, rewriting, saving ONNX
  kQuantize,    // calibration and Q/DQ insertion
  kBackend,     // finding and loading a backend module
  kBuild,       // building an engine
  kOpen,        // opening an engine (sidecar, probe)
  kRun,         // inference
  kImage,       // decoding and preprocessing pictures
  kMeasure,     // timing
  kCompare,     // comparing outputs
  kReport,      // writing results
  kInterrupted  // Ctrl-C
};

const char* stage_name(Stage stage) noexcept;

class Error : public std::runtime_error {
 public:
  /// `subject`: file, tensor or node concerned (may be empty). `cause`: what is wrong, one sentence without a final
  /// full stop. `hint`: what the user can do, preferably an exact command (may be empty).
  Error(Stage stage, std::string subject, std::string cause, std::string hint = {});

  Stage stage() const noexcept { return stage_; }
  const std::string& subject() const noexcept { return subject_; }
  const std::string& cause() const noexcept { return cause_; }
  const std::string& hint() const noexcept { return hint_; }

 private:
  Stage stage_;
  std::string subject_, cause_, hint_;
};

}  // namespace ferry
