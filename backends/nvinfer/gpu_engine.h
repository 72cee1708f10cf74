// What the C interface (module.cc) needs of a GPU module that opens plans, so that all of them share it: an opened
// engine, and the four functions that each module defines for itself.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "backend_abi.h"
#include "cuda_support/context.h"
#include "cuda_support/devices.h"
#include "cuda_support/nvml.h"
#include "nvinfer/network.h"
#include "nvinfer/options.h"
#include "nvinfer/proof.h"

namespace ferry::nvinfer {

/// Of a plan built for weight streaming, in bytes: weights that may lie in host memory, and how many of them the device
/// keeps. The others cross the bus in every run.
struct WeightStreaming {
  std::int64_t streamable = 0, budget = 0;
};

class GpuEngine : public Network {
 public:
  virtual const cuda::Context& context() const noexcept = 0;
  virtual const cuda::DeviceInfo& device() const noexcept = 0;
  virtual const OpenOptions& options() const noexcept = 0;
  virtual std::string sdk_version() const = 0;
  virtual std::size_t weights_bytes() const noexcept = 0;  // on the device
  virtual std::optional<WeightStreaming> weight_streaming() const noexcept { return std::nullopt; }
  virtual std::string layers_json() const = 0;  // for people who ask for layer_info; not for several threads at a time
  virtual Proof proof() const = 0;
  virtual cuda::Telemetry telemetry() const = 0;
  /// A line to the log that the engine was opened with.
  virtual void say(int severity, const std::string& line) const = 0;
};

/// As `describe`, `supported`, `build` and `open` in backend_abi.h. The last two throw Failure or cuda::Error; `build`
/// gives nothing to the sinks unless all of it has succeeded.
std::string describe_json();
std::string supported_json();
void build(const ferry_build_args& args);
std::shared_ptr<GpuEngine> open_engine(const ferry_open_args& args);

}  // namespace ferry::nvinfer
