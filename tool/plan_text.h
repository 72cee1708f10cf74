// What a plan's sidecar says, for people.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ferry/engine_file.h"

namespace ferry::tool {

using Rows = std::vector<std::pair<std::string, std::string>>;

/// "input float32 [Nx3x224x224]"
std::string ports_text(const std::vector<Port>& ports);
/// "104 layers: 100 Half, 4 Float", or why there is no proof yet.
std::string proof_text(const Sidecar& sidecar);
std::string profiles_text(const std::vector<BatchProfile>& profiles);
/// The rows that `build` and `inspect` share.
Rows plan_rows(const Sidecar& sidecar);

}  // namespace ferry::tool
