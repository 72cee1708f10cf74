// Published weights by the name of their network.
#pragma once

#include <string>

#include "context.h"

namespace ferry::tool {

/// The path of the network's published weights: in the cache, or downloaded now, with progress. Throws Error(kFetch),
/// whose hint offers --random-weights where there is no network connection.
std::string fetch_with_progress(const std::string& name, const Context& context);

}  // namespace ferry::tool
