// Which backend does a job, and why none does.
#pragma once

#include <string>

#include "ferry/engine_file.h"

namespace ferry {

/// The backend that `name` says, or the most preferred one that can build an engine of this precision here. Throws
/// Error(kBuild) saying why each candidate cannot.
Backend choose_builder(const std::string& name, const std::string& precision, const BuildOptions& options);

/// The most preferred usable backend that opens `what` ("onnx" or "weights"). Throws Error(kOpen) saying why each
/// candidate cannot.
Backend choose_opener(const std::string& what, const std::string& path, const OpenOptions& options);

/// The device that a backend would use, if it has one here.
std::optional<Device> device_of(const BackendInfo& info, int index);

/// Whether a compute capability is in a target such as "8.9" or "8.6,8.9". An empty target is for a machine without
/// GPU.
bool covers(const std::string& target, const std::string& compute_capability);

}  // namespace ferry
