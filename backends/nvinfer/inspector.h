// What an engine says about its own layers.
#pragma once

#include <string>

#include "nvinfer/library.h"

namespace ferry::nvinfer {

/// The engine inspector's JSON; empty if the SDK gives none. With a context, of the profile and shapes it is set to.
std::string inspector_json(const nvinfer1::ICudaEngine& engine, const nvinfer1::IExecutionContext* context = nullptr);

}  // namespace ferry::nvinfer
