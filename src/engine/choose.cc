#include "engine/choose.h"

#include <fmt/format.h>

#include <algorithm>

#include "ferry/error.h"

namespace ferry {
namespace {

bool contains(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

bool needs_target(const BackendInfo& info, const BuildOptions& options) {
  return info.kind == "gpu" && options.target.empty() && !(info.usable && device_of(info, options.device));
}

// Why `info` cannot build; empty if it can.
std::string obstacle(const BackendInfo& info, const std::string& precision, const BuildOptions& options) {
  if (!info.can_build) return info.reason.empty() ? "it cannot build on this machine" : info.reason;
  if (!precision.empty() && !contains(info.precisions, precision)) return "it has no " + precision;
  if (needs_target(info, options)) return "there is no GPU here that it runs on, and no --target names one";
  return {};
}

std::string remedy(const BackendInfo& info, const BuildOptions& options) {
  if (info.can_build && needs_target(info, options))
    return "Say which GPU the engine is for: --target 8.9 is a GeForce RTX 4060.";
  return info.remedy;
}

struct Refusals {
  std::string causes, hint;
  bool option_helps = false;
  // An option that helps is nearer than anything that has to be installed.
  void add(const BackendInfo& info, const std::string& why, const std::string& what_helps, bool by_option = false) {
    causes += (causes.empty() ? "" : "; ") + info.display_name + ": " + why;
    if (hint.empty() || (by_option && !option_helps)) hint = what_helps;
    option_helps = option_helps || by_option;
  }
};

}  // namespace

std::optional<Device> device_of(const BackendInfo& info, int index) {
  for (const Device& device : info.devices)
    if (device.index == index) return device;
  return std::nullopt;
}

bool covers(const std::string& target, const std::string& compute_capability) {
  return ("," + target + ",").find("," + compute_capability + ",") != std::string::npos;
}

Backend choose_builder(const std::string& name, const std::string& precision, const BuildOptions& options) {
  if (!name.empty()) {
    Backend backend = Backend::load(name);
    const BackendInfo& info = backend.info();
    if (!info.builds)
      throw Error(Stage::kBuild, info.display_name, "this backend has no engine files: it opens models directly");
    const std::string why = obstacle(info, "", options);  // precision: the proof after the build judges
    if (!why.empty()) throw Error(Stage::kBuild, info.display_name, why, remedy(info, options));
    return backend;
  }
  Refusals refusals;
  for (const BackendInfo& info : Backend::list()) {
    if (!info.builds) continue;
    const std::string why = obstacle(info, precision, options);
    if (why.empty()) return Backend::load(info.name);
    refusals.add(info, why, remedy(info, options), info.can_build && needs_target(info, options));
  }
  throw Error(Stage::kBuild, "engine", "no backend can build here: " + refusals.causes,
              refusals.hint.empty() ? "`ferry doctor` says what is missing and how to get it." : refusals.hint);
}

Backend choose_opener(const std::string& what, const std::string& path, const OpenOptions& options) {
  Refusals refusals;
  for (const BackendInfo& info : Backend::list()) {
    if (!contains(info.opens, what)) continue;
    if (info.usable && (!options.prefer_cpu || info.kind != "gpu")) return Backend::load(info.name);
    refusals.add(info, info.usable ? "it runs on a GPU only" : info.reason, info.remedy);
  }
  throw Error(Stage::kOpen, path,
              refusals.causes.empty() ? fmt::format("no backend opens {} files", what)
                                      : "no backend can run it here: " + refusals.causes,
              refusals.hint.empty() ? "`ferry doctor` says what is missing and how to get it." : refusals.hint);
}

}  // namespace ferry
