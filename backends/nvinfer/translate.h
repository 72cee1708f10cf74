// The SDK's error lines turned into what really happened and what to do. Its messages mislead in known ways: too little
// memory becomes "could not find any implementation", an old driver becomes a null builder.
#pragma once

#include <string>
#include <vector>

#include "nvinfer/failure.h"

namespace ferry::nvinfer {

struct SdkFailure {
  std::string sdk;                 // "TensorRT for RTX 1.7.1.116"
  std::string what;                // what was attempted: "build the engine"
  std::vector<std::string> lines;  // errors and warnings of that attempt, in order
  std::string driver_reason;       // why there is no usable driver; empty if there is one
  std::string workspace;           // "4.0 GiB"; empty if not a build on a GPU
};

Failure translate(const SdkFailure& failure);

}  // namespace ferry::nvinfer
