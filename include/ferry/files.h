// Files: write so that nothing half-written is ever seen, hash, and clean up when a program must end at once.
#pragma once

#include <string>
#include <string_view>

#include "ferry/error.h"

namespace ferry {

/// Writes under a temporary name beside `path`, flushes to disk, renames. Throws Error(stage); then `path` is as it
/// was.
void write_file(const std::string& path, std::string_view bytes, Stage stage);

/// Lower-case hex SHA-256 of a file; throws Error(stage) if it cannot be read.
std::string sha256_file(const std::string& path, Stage stage);

/// Removes the temporary files that the library has open now. Async-signal-safe: for a program that leaves from a
/// signal handler. In every other case the library removes them itself.
void remove_temporary_files() noexcept;

}  // namespace ferry
