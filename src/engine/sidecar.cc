// The sidecar's JSON (docs/file-formats.md). Reading is strict: a sidecar decides whether a plan may run.
#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "base/files.h"
#include "engine/commands.h"
#include "engine/json.h"

namespace ferry {
namespace {

constexpr int kVersion = 1;
constexpr std::array kTypes{DType::kFloat32, DType::kUInt8,   DType::kInt8,    DType::kInt32,   DType::kInt64,
                            DType::kBool,    DType::kFloat16, DType::kFloat64, DType::kBFloat16};

DType dtype_named(const std::string& name) {
  for (const DType type : kTypes)
    if (name == name_of(type)) return type;
  throw std::invalid_argument("unknown element type '" + name + "'");
}

Json ports_json(const std::vector<Port>& ports) {
  Json result = Json::array();
  for (const Port& p : ports) result.push_back({{"name", p.name}, {"dtype", name_of(p.dtype)}, {"shape", p.shape}});
  return result;
}

std::vector<Port> ports_from_json(const Json& json) {
  std::vector<Port> ports;
  for (const Json& p : json)
    ports.push_back(
        {p.at("name").get<std::string>(), dtype_named(p.at("dtype").get<std::string>()), p.at("shape").get<Shape>()});
  return ports;
}

Json probe_json(const std::optional<Probe>& probe) {
  if (!probe) return nullptr;
  return {{"seed", probe->seed},       {"batch", probe->batch},       {"tolerance", probe->tolerance},
          {"referee", probe->referee}, {"expected", probe->expected}, {"expected_classes", probe->expected_classes}};
}

std::optional<Probe> probe_from_json(const Json& json) {
  if (json.is_null()) return std::nullopt;
  Probe probe;
  probe.seed = json.at("seed").get<std::uint64_t>();
  probe.batch = json.at("batch").get<std::int64_t>();
  probe.tolerance = json.at("tolerance").get<double>();
  probe.referee = json.at("referee").get<std::string>();
  probe.expected = json.at("expected").get<std::vector<float>>();
  probe.expected_classes = json.at("expected_classes").get<std::vector<std::int32_t>>();
  return probe;
}

std::string dumped(const Json& json) { return json.is_null() ? std::string() : json.dump(); }

Sidecar parse(const Json& j) {
  Sidecar s;
  s.version = j.at("version").get<int>();
  const auto text = [&](const char* key) { return j.at(key).get<std::string>(); };
  s.backend = text("backend");
  s.sdk = text("sdk");
  s.sdk_version = text("sdk_version");
  s.plan_sha256 = text("plan_sha256");
  s.onnx_sha256 = text("onnx_sha256");
  s.onnx_path = text("onnx_path");
  s.gpu = text("gpu");
  s.compute_capability = text("compute_capability");
  s.driver = text("driver");
  s.precision = text("precision");
  s.precision_proof_json = dumped(j.at("precision_proof"));
  s.precision_proof_due = j.at("precision_proof_due").get<bool>();
  s.cache_key = text("cache_key");
  s.profiles = profiles_from_json(j.at("profiles"));
  s.inputs = ports_from_json(j.at("inputs"));
  s.outputs = ports_from_json(j.at("outputs"));
  s.form = form_from_json(j.at("form").dump(), "form");
  s.build_options_json = dumped(j.at("build_options"));
  s.build_report_json = dumped(j.at("build_report"));
  s.build_seconds = j.at("build_seconds").get<double>();
  s.built_at = text("built_at");
  s.ferry_version = text("ferry_version");
  s.origin = text("origin");
  s.probe = probe_from_json(j.at("probe"));
  s.preprocessing = text("preprocessing");
  s.class_names = j.at("class_names").get<std::vector<std::string>>();
  return s;
}

}  // namespace

std::string to_json(const Sidecar& s) {
  Json j;
  j["format"] = "ferry engine";
  j["version"] = s.version;
  j["backend"] = s.backend;
  j["sdk"] = s.sdk;
  j["sdk_version"] = s.sdk_version;
  j["gpu"] = s.gpu;
  j["compute_capability"] = s.compute_capability;
  j["driver"] = s.driver;
  j["precision"] = s.precision;
  j["precision_proof"] = embedded(s.precision_proof_json);
  j["precision_proof_due"] = s.precision_proof_due;
  j["profiles"] = profiles_json(s.profiles);
  j["inputs"] = ports_json(s.inputs);
  j["outputs"] = ports_json(s.outputs);
  j["form"] = embedded(to_json(s.form));
  j["origin"] = s.origin;
  j["preprocessing"] = s.preprocessing;
  j["class_names"] = s.class_names;
  j["onnx_path"] = s.onnx_path;
  j["onnx_sha256"] = s.onnx_sha256;
  j["plan_sha256"] = s.plan_sha256;
  j["cache_key"] = s.cache_key;
  j["built_at"] = s.built_at;
  j["build_seconds"] = s.build_seconds;
  j["ferry_version"] = s.ferry_version;
  j["build_options"] = embedded(s.build_options_json);
  j["build_report"] = embedded(s.build_report_json);
  j["probe"] = probe_json(s.probe);
  return j.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Sidecar sidecar_from_json(const std::string& text, const std::string& path) {
  const char* hint = "Build the engine again with `ferry build MODEL.onnx -o MODEL.plan`.";
  try {
    const Json json = Json::parse(text);
    if (!json.is_object() || json.value("format", "") != "ferry engine")
      throw Error(Stage::kOpen, path, "is not a ferry sidecar (its \"format\" is not \"ferry engine\")", hint);
    const int version = json.at("version").get<int>();
    if (version != kVersion)
      throw Error(Stage::kOpen, path,
                  fmt::format("is a sidecar of version {}; this ferry reads version {}", version, kVersion), hint);
    return parse(json);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(Stage::kOpen, path, fmt::format("is not a usable sidecar: {}", error.what()), hint);
  }
}

std::string sidecar_path(const std::string& plan_path) { return plan_path + ".json"; }

Sidecar read_sidecar(const std::string& plan_path) {
  const std::string path = sidecar_path(plan_path);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    throw Error(Stage::kOpen, plan_path,
                fmt::format("has no sidecar '{}', so nothing says for which GPU, SDK and network it was built", path),
                fmt::format("If another program built it, build it from its ONNX file instead: {}",
                            build_command("MODEL.onnx", plan_path, "", {})));
  return sidecar_from_json(read_file(path, Stage::kOpen), path);
}

}  // namespace ferry
