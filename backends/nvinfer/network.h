// An opened engine as a session sees it. The SDK's types stay behind this, so that sessions are tested without a GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nvinfer/failure.h"
#include "nvinfer/layers.h"
#include "nvinfer/profiles.h"

struct CUstream_st;

namespace ferry::nvinfer {

struct Port {
  std::string name;
  std::int32_t dtype = 1;           // ONNX's TensorProto.DataType
  std::vector<std::int64_t> shape;  // the first dimension is the batch; -1: by profile
  std::size_t row_bytes = 0;        // of one image
};

/// An execution context: bound to one batch size and its buffers at a time.
class Executor {
 public:
  virtual ~Executor() = default;
  /// Everything `enqueue` needs to know. Not while work of this executor is in flight; graphs captured from it before
  /// are void. Throws Failure.
  virtual void bind(int profile, std::int64_t batch, const std::vector<void*>& inputs,
                    const std::vector<void*>& outputs, CUstream_st* stream) = 0;
  virtual void enqueue(CUstream_st* stream) = 0;  // throws Failure
  virtual bool capturable(CUstream_st* stream) const = 0;
  /// Called when the work that was enqueued has ended: throws Failure for what only the device could find out.
  virtual void finish() {}
  /// Runs `runs` times with a clock around every layer; what it showed, run by run. Blocks. Throws Failure.
  virtual std::vector<std::vector<LayerSample>> time_layers(CUstream_st*, int) {
    throw Failure("", "this engine does not run layer by layer", "", FERRY_UNSUPPORTED);
  }
  /// The inspector's JSON for the profile and batch that this is bound to; empty if there is none.
  virtual std::string layers_json() const { return {}; }
};

class Network {
 public:
  virtual ~Network() = default;
  virtual const std::vector<Port>& inputs() const = 0;
  virtual const std::vector<Port>& outputs() const = 0;
  virtual const std::vector<Profile>& profiles() const = 0;
  /// Device memory for activations that an executor needs; executors that never run at the same time share it.
  virtual std::size_t arena_bytes() const = 0;
  /// Thread-safe. Throws Failure.
  virtual std::unique_ptr<Executor> make_executor(void* arena, std::size_t arena_bytes) = 0;
};

}  // namespace ferry::nvinfer
