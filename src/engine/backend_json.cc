// The JSON that modules write, as the structures of backend.h.
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/backend_module.h"

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;

Json object_from(const std::string& text, const char* entry, const std::string& name) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) throw Error(Stage::kBackend, name, std::string(entry) + " did not write a JSON object");
  return json;
}

/// A string, or empty for null or absent.
std::string text(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() || found->is_null() ? std::string() : found->get<std::string>();
}

Device device_from(const Json& json, const std::string& kind) {
  Device device;
  device.kind = json.value("kind", kind);
  device.name = text(json, "name");
  device.compute_capability = text(json, "compute_capability");
  device.driver = text(json, "driver");
  device.cuda = text(json, "cuda");
  device.memory_bytes = json.value("memory_bytes", std::int64_t{0});
  device.index = json.value("index", 0);
  return device;
}

std::vector<Port> ports_from(const Json& json) {
  std::vector<Port> ports;
  for (const Json& port : json)
    ports.push_back({port.at("name").get<std::string>(), static_cast<DType>(port.at("dtype").get<std::int32_t>()),
                     port.at("shape").get<Shape>()});
  return ports;
}

/// Runs `read`, and turns a wrong type or a missing key into an Error that names the entry.
template <typename Read>
void reading(const char* entry, const std::string& name, Read read) {
  try {
    read();
  } catch (const Json::exception& e) {
    throw Error(Stage::kBackend, name, std::string(entry) + " wrote JSON that ferry cannot use: " + e.what());
  }
}

}  // namespace

void read_description(const std::string& describe, BackendInfo& info) {
  const Json json = object_from(describe, "describe", info.name);
  reading("describe", info.name, [&] {
    info.display_name = json.value("display_name", info.name);
    info.kind = json.value("kind", "cpu");
    info.opens = json.value("opens", std::vector<std::string>());
    info.precisions = json.value("precisions", std::vector<std::string>());
    if (json.contains("max_batch")) info.max_batch = json["max_batch"].get<std::int64_t>();
    info.builds = json.value("builds", false);
    info.reference = json.value("reference", false);
    if (json.contains("cautions")) info.cautions.clear();  // those of module.json hold for a module that says nothing
    for (const Json& caution : json.value("cautions", Json::array()))
      info.cautions.push_back({caution.at("precision").get<std::string>(),
                               caution.at("compute_capabilities").get<std::vector<std::string>>(),
                               caution.at("text").get<std::string>()});
  });
}

void read_support(const std::string& supported, BackendInfo& info) {
  const Json json = object_from(supported, "supported", info.name);
  reading("supported", info.name, [&] {
    info.usable = json.at("usable").get<bool>();
    info.can_build = json.value("can_build", false);
    info.reason = text(json, "reason");
    if (const std::string remedy = text(json, "remedy"); !remedy.empty() || info.usable) info.remedy = remedy;
    info.library = text(json, "library");
    info.version = text(json, "version");
    const std::string kind = info.kind == "cpu" ? "cpu" : "gpu";
    for (const Json& device : json.value("devices", Json::array())) info.devices.push_back(device_from(device, kind));
  });
}

EngineInfo read_io(const std::string& io, const BackendInfo& backend) {
  const Json json = object_from(io, "io", backend.name);
  EngineInfo info;
  info.backend = backend.name;
  info.backend_display_name = backend.display_name;
  reading("io", backend.name, [&] {
    info.inputs = ports_from(json.at("inputs"));
    info.outputs = ports_from(json.at("outputs"));
    for (const Json& p : json.value("profiles", Json::array()))
      info.profiles.push_back(
          {p.at("min").get<std::int64_t>(), p.at("opt").get<std::int64_t>(), p.at("max").get<std::int64_t>()});
    if (json.contains("max_batch") && !json["max_batch"].is_null())
      info.max_batch = json["max_batch"].get<std::int64_t>();
    info.device = device_from(json.at("device"), "cpu");
    info.sdk_version = text(json, "sdk_version");
    info.device_memory_bytes = json.value("device_memory_bytes", std::int64_t{0});
    if (const Json streaming = json.value("weight_streaming", Json()); streaming.is_object())
      info.weight_streaming = {streaming.at("streamable_bytes").get<std::int64_t>(),
                               streaming.at("budget_bytes").get<std::int64_t>()};
    info.resident = json.value("resident", info.device.kind == "gpu");
    info.images = json.value("images", false);
    if (json.contains("precision_proof") && !json["precision_proof"].is_null())
      info.precision_proof_json = json["precision_proof"].dump();
  });
  return info;
}

LayerProfile read_profile(const std::string& text_of_profile, const BackendInfo& backend) {
  const Json json = object_from(text_of_profile, "profile", backend.name);
  const auto number = [](const Json& of, const char* key) {
    const auto found = of.find(key);
    const bool known = found != of.end() && !found->is_null();
    return known ? found->get<double>() : std::numeric_limits<double>::quiet_NaN();
  };
  LayerProfile profile;
  reading("profile", backend.name, [&] {
    profile.batch = json.at("batch").get<std::int64_t>();
    profile.runs = json.at("runs").get<int>();
    for (const Json& layer : json.at("layers"))
      profile.layers.push_back({layer.at("name").get<std::string>(), text(layer, "kind"), text(layer, "kernel"),
                                text(layer, "precision"), layer.at("ms").get<double>(), number(layer, "flops"),
                                number(layer, "bytes")});
    const Json peaks = json.contains("peaks") && json["peaks"].is_object() ? json["peaks"] : Json::object();
    profile.flops_per_second = peaks.value("flops_per_second", std::map<std::string, double>());
    profile.bytes_per_second = number(peaks, "bytes_per_second");
  });
  set_floors(profile);
  return profile;
}

}  // namespace ferry
