// Opening what is not a plan: an ONNX file or a checkpoint, with the best usable backend.
#pragma once

#include <string>

#include "ferry/backend.h"

namespace ferry {

enum class FileKind { kPlan, kOnnx, kCheckpoint };

/// By the name .onnx, by a sidecar, by other names, then by content. What is none of them is taken for a plan, which
/// will be refused.
FileKind kind_of(const std::string& path);

Engine open_onnx_file(const std::string& path, const OpenOptions& options, const Log& log);
Engine open_checkpoint(const std::string& path, const OpenOptions& options, const Log& log);

}  // namespace ferry
