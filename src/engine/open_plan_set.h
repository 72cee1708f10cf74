// Opening a plan set: one engine that sends each request to the plan for its batch.
#pragma once

#include <string>

#include "ferry/plan_set.h"

namespace ferry {

/// Every plan is opened as `open_engine` opens it, and must be the one that the set names. Throws Error(kOpen) whose
/// hint is the command that builds the set again.
Engine open_plan_set(const std::string& path, const OpenOptions& options, const Log& log);

}  // namespace ferry
