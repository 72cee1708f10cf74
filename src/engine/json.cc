#include "engine/json.h"

namespace ferry {

Json profiles_json(const std::vector<BatchProfile>& profiles) {
  Json result = Json::array();
  for (const BatchProfile& p : profiles) result.push_back({{"min", p.min}, {"opt", p.opt}, {"max", p.max}});
  return result;
}

std::vector<BatchProfile> profiles_from_json(const Json& json) {
  std::vector<BatchProfile> profiles;
  for (const Json& p : json)
    profiles.push_back(
        {p.at("min").get<std::int64_t>(), p.at("opt").get<std::int64_t>(), p.at("max").get<std::int64_t>()});
  return profiles;
}

Json build_options_json(const BuildOptions& options) {
  Json json;
  json["profiles"] = profiles_json(options.profiles);
  json["target"] = options.target.empty() ? Json(nullptr) : Json(options.target);
  json["workspace_bytes"] = options.workspace_bytes ? Json(*options.workspace_bytes) : Json(nullptr);
  json["optimization_level"] = options.optimization_level ? Json(*options.optimization_level) : Json(nullptr);
  json["tf32"] = options.tf32;
  json["device"] = options.device;
  // Only where asked for: not every module knows them.
  if (!options.tactics.empty()) json["tactics"] = options.tactics;
  if (options.aux_streams) json["aux_streams"] = *options.aux_streams;
  if (options.weight_streaming) json["weight_streaming"] = true;
  if (options.timing_runs) json["timing_runs"] = *options.timing_runs;
  return json;
}

Json embedded(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json(nullptr) : json;
}

}  // namespace ferry
