// Pieces of JSON shared by sidecar, cache key and module reports.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "ferry/engine_file.h"

namespace ferry {

using Json = nlohmann::ordered_json;

Json profiles_json(const std::vector<BatchProfile>& profiles);
std::vector<BatchProfile> profiles_from_json(const Json& json);
/// What a module's `build` entry gets (see backend_abi.h) and what the cache key hashes: everything that shapes a plan.
Json build_options_json(const BuildOptions& options);
/// Text that should be JSON, as JSON: null if it is empty or is not.
Json embedded(const std::string& text);

}  // namespace ferry
