// Plans of ferry's latency engine, made and opened inside a test.
#pragma once

#include <memory>
#include <string>

#include "cuda/engine.h"

namespace ferry::latency {

/// The plan of this ONNX file for batches `min` to `max`, for the first GPU here. Throws nvinfer::Failure.
std::string build_plan(const std::string& onnx, int min, int max);

std::shared_ptr<Engine> open_plan(const std::string& plan);

}  // namespace ferry::latency
