// ferry build --backend auto: several engines, and for each batch the plan of the fastest.
#pragma once

#include <string>
#include <vector>

#include "context.h"
#include "ferry/plan_set.h"
#include "model.h"
#include "plan_text.h"

namespace ferry::tool {

struct SetOptions {
  ModelOptions model;
  std::string backends;  // "auto", or names with commas
  std::string batches;   // "1:2:4:8:32" or "1,2,4,8,32"; empty: these
};

/// Whether --backend asks for a plan set.
bool names_set(const std::string& backend);
/// Throws Error(kUsage). `build` says where the set goes and how each engine is built.
PlanSetRequest set_request(const SetOptions& options, BuildRequest build);
/// Builds, measures, writes, and shows what came of it.
int build_plan_set_of(Model& model, PlanSetRequest request, const Context& context);

/// "plan set, 2 plans"
std::string set_title(const PlanSet& set);
/// What every batch was measured at, as a table; and what there is to say about the set.
std::string measured_table(const PlanSet& set);
Rows set_rows(const PlanSet& set);

}  // namespace ferry::tool
