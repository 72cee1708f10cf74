// The SDK's two libraries, opened at run time and checked against the headers that this module was compiled with.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "nvinfer/failure.h"
#include "nvinfer/sdk.h"

namespace ferry::nvinfer {

/// The libraries, or why they cannot be used.
struct Library {
  std::string path;              // of the runtime; empty if none was found
  std::array<int, 4> version{};  // major, minor, patch, build
  std::string reason, remedy;    // why unusable; empty if usable

  bool usable() const noexcept { return reason.empty(); }
  /// "TensorRT for RTX 1.7.1.116"
  std::string sdk_text() const;

  // nullptr if the SDK fails; its log says why.
  nvinfer1::IBuilder* make_builder() const;
  nvinfer1::IRuntime* make_runtime() const;
  nvonnxparser::IParser* make_parser(nvinfer1::INetworkDefinition& network) const;

  void* create_builder = nullptr;
  void* create_runtime = nullptr;
  void* create_parser = nullptr;
};

/// Looked for once a process.
const Library& library();
/// The same, or a Failure (FERRY_UNSUPPORTED) with reason and remedy.
const Library& usable_library();

}  // namespace ferry::nvinfer
