// Facts about a file that are costly to find out and hold until the file changes.
#pragma once

#include <functional>
#include <string>

#include "ferry/error.h"

namespace ferry {

/// The value of `find_out()`, remembered in the cache under `kind`, the path, and the file's size, inode, and times. A
/// file changed within the last second is looked at but not remembered. A cache that cannot be written is no failure.
std::string remembered(const std::string& path, const std::string& kind, Stage stage,
                       const std::function<std::string()>& find_out);

/// What is remembered of that kind about the file as it is now; empty if nothing is.
std::string recall(const std::string& path, const std::string& kind);
/// Changes with everything that `remembered` looks at: two equal stamps mean that the file did not change in between.
std::string stamp_of(const std::string& path, Stage stage);

/// Remembers a fact, unless the file changed within the last second.
void remember_settled(const std::string& path, const std::string& kind, const std::string& value);
/// Remembers a fact about a file that this process has just written and renamed into place: nobody else can have
/// changed it since, so it need not be let settle.
void remember(const std::string& path, const std::string& kind, const std::string& value);

}  // namespace ferry
