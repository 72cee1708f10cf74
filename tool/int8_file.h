// The INT8 file that a command needs on the way: quantised with the defaults of `ferry quantize`, kept in the cache.
#pragma once

#include <string>

#include "context.h"
#include "ferry/classifier.h"

namespace ferry::tool {

/// An INT8 file of the float32 file `onnx`. `calibration`: a folder of pictures, or the .json that an earlier
/// `ferry quantize` left. Throws Error(kUsage) saying how to get there if it is empty.
std::string int8_file(const std::string& onnx, const std::string& calibration, const PictureFacts& facts,
                      const Context& context);

}  // namespace ferry::tool
