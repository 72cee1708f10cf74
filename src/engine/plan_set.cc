// The JSON of a plan set (docs/file-formats.md). Reading is strict, as for sidecars: a set decides which plan runs.
#include "ferry/plan_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "base/files.h"
#include "engine/json.h"
#include "engine/plan_set_command.h"

namespace ferry {
namespace {

constexpr int kSetVersion = 1;
constexpr const char* kSetFormat = "ferry plan set";

Json part_json(const PlanSet::Part& part) {
  return {{"file", part.file},
          {"plan_sha256", part.plan_sha256},
          {"backend", part.backend},
          {"engine", part.engine},
          {"profiles", profiles_json(part.profiles)}};
}

PlanSet::Part part_from_json(const Json& json) {
  const auto text = [&](const char* key) { return json.at(key).get<std::string>(); };
  return {text("file"), text("plan_sha256"), text("backend"), text("engine"), profiles_from_json(json.at("profiles"))};
}

Json measured_json(const PlanSet::Measured& m) {
  return {{"batch", m.batch},   {"backend", m.backend}, {"engine", m.engine}, {"median_ms", m.median_ms},
          {"p99_ms", m.p99_ms}, {"timed", m.timed},     {"chosen", m.chosen}};
}

PlanSet::Measured measured_from_json(const Json& json) {
  PlanSet::Measured m;
  m.batch = json.at("batch").get<std::int64_t>();
  m.backend = json.at("backend").get<std::string>();
  m.engine = json.at("engine").get<std::string>();
  m.median_ms = json.at("median_ms").get<double>();
  m.p99_ms = json.at("p99_ms").get<double>();
  m.timed = json.at("timed").get<std::string>();
  m.chosen = json.at("chosen").get<bool>();
  return m;
}

PlanSet parse_set(const Json& json) {
  PlanSet set;
  set.version = json.at("version").get<int>();
  for (const Json& part : json.at("plans")) set.parts.push_back(part_from_json(part));
  for (const Json& m : json.at("measured")) set.measured.push_back(measured_from_json(m));
  set.left_out = json.at("left_out").get<std::vector<std::string>>();
  set.backends = json.at("backends").get<std::vector<std::string>>();
  set.batches = json.at("batches").get<std::vector<std::int64_t>>();
  set.onnx_path = json.at("onnx_path").get<std::string>();
  set.gpu = json.at("gpu").get<std::string>();
  set.built_at = json.at("built_at").get<std::string>();
  set.ferry_version = json.at("ferry_version").get<std::string>();
  return set;
}

// Why a set cannot be what `build_plan_set` wrote; empty if it can.
std::string contradiction(const PlanSet& set) {
  if (set.parts.empty()) return "it names no plan";
  std::vector<BatchProfile> all;
  for (const PlanSet::Part& part : set.parts) {
    if (part.file.empty() || part.file.find('/') != std::string::npos || part.file.starts_with('.'))
      return fmt::format("'{}' is not the name of a file beside it", part.file);
    if (part.profiles.empty()) return fmt::format("no batch goes to '{}'", part.file);
    all.insert(all.end(), part.profiles.begin(), part.profiles.end());
  }
  std::sort(all.begin(), all.end(), [](const BatchProfile& a, const BatchProfile& b) { return a.min < b.min; });
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].min < 1 || all[i].opt < all[i].min || all[i].max < all[i].opt)
      return fmt::format("batch {} is no range", to_string(all[i]));
    if (i > 0 && all[i].min <= all[i - 1].max) return fmt::format("batch {} belongs to two plans", all[i].min);
  }
  return {};
}

}  // namespace

std::string to_json(const PlanSet& set) {
  Json json;
  json["format"] = kSetFormat;
  json["version"] = set.version;
  json["plans"] = Json::array();
  for (const PlanSet::Part& part : set.parts) json["plans"].push_back(part_json(part));
  json["measured"] = Json::array();
  for (const PlanSet::Measured& m : set.measured) json["measured"].push_back(measured_json(m));
  json["left_out"] = set.left_out;
  json["backends"] = set.backends;
  json["batches"] = set.batches;
  json["onnx_path"] = set.onnx_path;
  json["gpu"] = set.gpu;
  json["built_at"] = set.built_at;
  json["ferry_version"] = set.ferry_version;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

PlanSet plan_set_from_json(const std::string& text, const std::string& path) {
  const char* hint = "Build it again with `ferry build MODEL --backend auto -o SET.plan`.";
  try {
    const Json json = Json::parse(text);
    if (!json.is_object() || json.value("format", "") != kSetFormat)
      throw Error(Stage::kOpen, path, "is not a ferry plan set (its \"format\" is another)", hint);
    const int version = json.at("version").get<int>();
    if (version != kSetVersion)
      throw Error(Stage::kOpen, path,
                  fmt::format("is a plan set of version {}; this ferry reads version {}", version, kSetVersion), hint);
    PlanSet set = parse_set(json);
    if (const std::string why = contradiction(set); !why.empty())
      throw Error(Stage::kOpen, path, "is not a usable plan set: " + why, hint);
    return set;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(Stage::kOpen, path, fmt::format("is not a usable plan set: {}", error.what()), hint);
  }
}

// The serialised form begins with its format: enough of it to tell, whatever blanks another program wrote.
bool is_plan_set(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string head(256, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  const std::size_t first = head.find_first_not_of(" \t\r\n");
  return first != std::string::npos && head[first] == '{' &&
         head.find(fmt::format("\"{}\"", kSetFormat)) != std::string::npos;
}

PlanSet read_plan_set(const std::string& path) { return plan_set_from_json(read_file(path, Stage::kOpen), path); }

Sidecar describe_plan(const std::string& path) {
  if (!is_plan_set(path)) return read_sidecar(path);
  const PlanSet set = read_plan_set(path);
  try {
    Sidecar sidecar = read_sidecar(part_path(path, set.parts.front()));
    sidecar.profiles.clear();
    for (const PlanSet::Part& part : set.parts)
      sidecar.profiles.insert(sidecar.profiles.end(), part.profiles.begin(), part.profiles.end());
    return sidecar;
  } catch (const Error& error) {
    throw Error(Stage::kOpen, path, fmt::format("its plan '{}' {}", set.parts.front().file, error.cause()),
                "Build the set again: " + rebuild_command(set, path));
  }
}

}  // namespace ferry
