// ONNX -> plan.
#pragma once

#include "backend_abi.h"

namespace ferry::nvinfer {

/// See `build` in backend_abi.h. Nothing goes to the sinks unless the whole build, its proof of precision included
/// where this machine can open the plan, has succeeded. Throws Failure or cuda::Error.
void build(const ferry_build_args& args);

}  // namespace ferry::nvinfer
