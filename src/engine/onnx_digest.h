// What an ONNX file says, as one hash.
#pragma once

#include <string>

#include "ferry/error.h"

namespace ferry {

/// The file's SHA-256 or, if weights lie in other files, a SHA-256 over it and theirs. Remembered while nothing
/// changes.
std::string onnx_digest(const std::string& path, Stage stage);

}  // namespace ferry
