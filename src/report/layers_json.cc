#include "report/layers_json.h"

#include <cmath>
#include <limits>

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;

Json text(const std::string& value) { return value.empty() ? Json(nullptr) : Json(value); }

double number_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() || found->is_null() ? std::numeric_limits<double>::quiet_NaN() : found->get<double>();
}
std::string text_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() || found->is_null() ? std::string() : found->get<std::string>();
}

}  // namespace

Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json layers_json(const LayerProfile& profile) {
  Json json{{"runs", profile.runs},
            {"total_ms", number_or_null(profile.total_ms())},
            {"floor_ms", number_or_null(profile.floor_ms())}};
  json["peaks"] = {{"flops_per_second", profile.flops_per_second},
                   {"bytes_per_second", number_or_null(profile.bytes_per_second)}};
  json["layers"] = Json::array();
  for (const LayerTime& layer : profile.layers)
    json["layers"].push_back({{"name", layer.name},
                              {"kind", text(layer.kind)},
                              {"kernel", text(layer.kernel)},
                              {"precision", text(layer.precision)},
                              {"ms", number_or_null(layer.ms)},
                              {"flops", number_or_null(layer.flops)},
                              {"bytes", number_or_null(layer.bytes)},
                              {"floor_ms", number_or_null(layer.floor_ms)}});
  return json;
}

LayerProfile layers_from_json(const Json& json) {
  LayerProfile profile;
  profile.runs = json.value("runs", 0);
  const Json peaks = json.value("peaks", Json::object());
  profile.flops_per_second = peaks.value("flops_per_second", std::map<std::string, double>());
  profile.bytes_per_second = number_of(peaks, "bytes_per_second");
  for (const Json& layer : json.at("layers"))
    profile.layers.push_back({layer.at("name").get<std::string>(), text_of(layer, "kind"), text_of(layer, "kernel"),
                              text_of(layer, "precision"), number_of(layer, "ms"), number_of(layer, "flops"),
                              number_of(layer, "bytes"), number_of(layer, "floor_ms")});
  return profile;
}

}  // namespace ferry
