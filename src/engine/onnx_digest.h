// What an ONNX file says, as one hash.
#pragma once

#include <string>

#include "ferry/error.h"

namespace ferry {

/// The file's SHA-256 or, if weights lie in other files, a SHA-256 over it and theirs. Remembered while nothing
/// changes.
std::string onnx_digest(const std::string& path, Stage stage);

/// Remembers the digest of a file that was just written with its weights inside.
void remember_onnx_digest(const std::string& path, const std::string& sha256);

}  // namespace ferry
