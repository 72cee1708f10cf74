// Files: read whole, hash, and where the cache is. Writing is in ferry/files.h.
#pragma once

#include <string>
#include <string_view>

#include "ferry/error.h"
#include "ferry/files.h"

namespace ferry {

/// The whole file; throws Error(stage) naming the path and the system's reason.
std::string read_file(const std::string& path, Stage stage);

/// $XDG_CACHE_HOME/ferry or ~/.cache/ferry, and folders below it; created on demand.
std::string cache_path(const std::string& below);

}  // namespace ferry
