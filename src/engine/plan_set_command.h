// Where the plans of a set are, and the command that builds a set again.
#pragma once

#include <string>

#include "ferry/plan_set.h"

namespace ferry {

/// The folder of the set and the name of the plan.
std::string part_path(const std::string& set_path, const PlanSet::Part& part);
/// "net.plan", "fake" -> "net.fake.plan".
std::string part_file(const std::string& set_path, const std::string& backend);
/// `ferry build ONNX --backend ... --batch ... -o SET`, in backquotes.
std::string rebuild_command(const PlanSet& set, const std::string& path);

}  // namespace ferry
