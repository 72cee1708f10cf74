// Which backends there are.
#include <algorithm>

#include "engine/backend_impl.h"

namespace ferry {
namespace {

/// What can be known of one backend, without throwing: an absent or broken module is an answer.
BackendInfo look_at(BackendInfo info, const std::vector<std::string>& path) noexcept {
  info.module_path = find_module(info.name, path);
  if (info.module_path.empty()) {
    info.reason = "its module is not built or not installed";
    return info;
  }
  try {
    return inspect_module(*Module::load(info.module_path), info);
  } catch (const Error& e) {
    info.reason = e.cause();
    if (!e.hint().empty()) info.remedy = e.hint();
  } catch (const std::exception& e) {
    info.reason = e.what();
  }
  return info;
}

}  // namespace

BackendInfo inspect_module(const Module& module, BackendInfo info) {
  read_description(module.describe(), info);
  info.present = true;
  read_support(module.supported(), info);
  return info;
}

std::vector<BackendInfo> Backend::list() {
  const std::vector<std::string> path = backend_search_path();
  std::vector<BackendInfo> all;
  for (ModuleFacts& facts : module_facts(path))
    if (!facts.test) all.push_back(look_at(std::move(facts.info), path));
  return all;
}

Backend Backend::load(const std::string& name) {
  const std::vector<std::string> path = backend_search_path();
  const std::vector<ModuleFacts> known = module_facts(path);
  const auto facts = std::find_if(known.begin(), known.end(), [&](const auto& f) { return f.info.name == name; });
  auto impl = std::make_shared<Impl>();
  impl->info.name = impl->info.display_name = name;
  if (facts != known.end()) impl->info = facts->info;
  impl->info.module_path = find_module(name, path);
  if (impl->info.module_path.empty() && facts == known.end()) {
    std::string names;
    for (const ModuleFacts& f : known)
      if (!f.test) names += (names.empty() ? "" : ", ") + f.info.name;
    throw Error(Stage::kBackend, name, "there is no backend of that name", "Known backends: " + names + ".");
  }
  if (impl->info.module_path.empty())
    throw Error(Stage::kBackend, name, "its module is not built or not installed", impl->info.remedy);
  impl->module = Module::load(impl->info.module_path);
  impl->info = inspect_module(*impl->module, std::move(impl->info));
  return Backend(std::move(impl));
}

}  // namespace ferry
