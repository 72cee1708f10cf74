// What an engine says about its own layers.
#pragma once

#include <string>

#include "nvinfer/library.h"

namespace ferry::nvinfer {

/// The engine inspector's JSON, of all profiles; empty if the SDK gives none.
std::string inspector_json(const nvinfer1::ICudaEngine& engine);

}  // namespace ferry::nvinfer
