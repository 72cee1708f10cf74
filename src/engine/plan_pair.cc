#include "engine/plan_pair.h"

#include <unistd.h>

#include "engine/remember.h"

namespace ferry {

PlanPair::PlanPair(std::string plan_path) : path_(std::move(plan_path)), plan_(path_, Stage::kBuild) {}

std::string PlanPair::write_plan(const std::string& plan) {
  plan_.write(plan);
  plan_.flush();
  std::string bytes = read_file(plan_.temporary_path(), Stage::kBuild);
  if (bytes != plan)
    throw Error(Stage::kBuild, path_, "what was read back is not what was written", "The disk may be failing.");
  return bytes;
}

void PlanPair::commit(const Sidecar& sidecar) {
  AtomicFile text(sidecar_path(path_), Stage::kBuild);
  text.write(to_json(sidecar));
  text.flush();
  plan_.commit();
  try {
    text.commit();
  } catch (...) {
    ::unlink(path_.c_str());  // a plan that nothing describes is worse than none
    throw;
  }
  remember(path_, "sha256", sidecar.plan_sha256);
}

}  // namespace ferry
