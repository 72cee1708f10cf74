// Plans of ferry's latency engine, made and opened inside a test.
#pragma once

#include <memory>
#include <string>

#include "cuda/engine.h"

namespace ferry::latency {

struct BuiltPlan {
  std::string plan, report;
};
/// The plan of this ONNX file for batches `min` to `max`, for the first GPU here; level 0: tiles by the model alone, 1:
/// measured, 2: chains too, where they are quicker. Throws nvinfer::Failure.
BuiltPlan build_with_report(const std::string& onnx, int min, int max, int level = 2);
inline std::string build_plan(const std::string& onnx, int min, int max, int level = 2) {
  return build_with_report(onnx, min, max, level).plan;
}

std::shared_ptr<Engine> open_plan(const std::string& plan);

}  // namespace ferry::latency
