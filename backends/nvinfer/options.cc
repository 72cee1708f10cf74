#include "nvinfer/options.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "nvinfer/failure.h"

namespace ferry::nvinfer {
namespace {

using Json = nlohmann::json;

[[noreturn]] void wrong(const std::string& key, const std::string& why) {
  throw Failure(key, "option '" + key + "' " + why, "see backends/backend_abi.h for the options of this call");
}

Json parse(const char* json) {
  if (json == nullptr || *json == '\0') return Json::object();
  Json parsed = Json::parse(json, nullptr, false);
  if (!parsed.is_object()) throw Failure("options_json", "the options are not a JSON object", "");
  return parsed;
}

template <typename Value>
Value get(const Json& value, const std::string& key, const char* expected) {
  try {
    return value.get<Value>();
  } catch (const Json::exception&) {
    wrong(key, std::string("must be ") + expected + ", given " + value.dump());
  }
}

std::int64_t get_integer(const Json& value, const std::string& key, std::int64_t low, std::int64_t high) {
  const std::string range = "a whole number from " + std::to_string(low) + " to " + std::to_string(high);
  if (!value.is_number_integer()) wrong(key, "must be " + range + ", given " + value.dump());
  const auto number = value.get<std::int64_t>();
  if (number < low || number > high) wrong(key, "must be " + range + ", given " + value.dump());
  return number;
}

constexpr std::int64_t kMaxBatch = 1 << 20, kMaxDevices = 1024, kMaxBytes = std::int64_t{1} << 50;

Profile parse_profile(const Json& value) {
  if (!value.is_object()) wrong("profiles", "must list objects with min, opt and max, given " + value.dump());
  Profile profile;
  for (const auto& [key, number] : value.items()) {
    std::int64_t* field = key == "min"   ? &profile.min
                          : key == "opt" ? &profile.opt
                          : key == "max" ? &profile.max
                                         : nullptr;
    if (field == nullptr) wrong("profiles." + key, "is unknown");
    *field = get_integer(number, "profiles." + key, 1, kMaxBatch);
  }
  if (profile.min > profile.opt || profile.opt > profile.max)
    wrong("profiles", "needs min <= opt <= max, given " + value.dump());
  return profile;
}

std::vector<Profile> parse_profiles(const Json& value) {
  if (!value.is_array() || value.empty()) wrong("profiles", "must be a list of batch ranges");
  std::vector<Profile> profiles;
  for (const Json& item : value) profiles.push_back(parse_profile(item));
  return profiles;
}

std::vector<std::string> parse_targets(const Json& value) {
  std::vector<std::string> targets;
  std::istringstream list(get<std::string>(value, "target", "a text such as \"8.9\" or \"8.6,8.9\""));
  for (std::string target; std::getline(list, target, ',');) targets.push_back(target);
  return targets;
}

void apply(BuildOptions& options, const std::string& key, const Json& value) {
  if (key == "profiles") {
    options.profiles = parse_profiles(value);
  } else if (key == "target") {
    options.targets = parse_targets(value);
  } else if (key == "workspace_bytes") {
    options.workspace_bytes = get_integer(value, key, 1, kMaxBytes);
  } else if (key == "optimization_level") {
    options.optimization_level = static_cast<int>(get_integer(value, key, 0, 5));
  } else if (key == "tactics") {
    options.tactics = get<std::vector<std::string>>(value, key, "a list of names");
  } else if (key == "aux_streams") {
    options.aux_streams = static_cast<int>(get_integer(value, key, 0, 64));
  } else if (key == "timing_runs") {
    options.timing_runs = static_cast<int>(get_integer(value, key, 1, 1000));
  } else if (key == "weight_streaming") {
    options.weight_streaming = get<bool>(value, key, "true or false");
  } else if (key == "tf32") {
    options.tf32 = get<bool>(value, key, "true or false");
  } else if (key == "device") {
    options.device = static_cast<int>(get_integer(value, key, 0, kMaxDevices));
  } else {
    wrong(key, "is unknown to this backend's build");
  }
}

void apply(OpenOptions& options, const std::string& key, const Json& value) {
  if (key == "device") {
    options.device = static_cast<int>(get_integer(value, key, 0, kMaxDevices));
  } else if (key == "graphs") {
    options.graphs = get<bool>(value, key, "true or false");
  } else if (key == "proof") {
    options.proof = get<bool>(value, key, "true or false");
  } else if (key == "layer_info") {
    options.layer_info = get<bool>(value, key, "true or false");
  } else if (key == "timing") {
    options.timing = get<bool>(value, key, "true or false");
  } else if (key == "copy_threads") {
    options.copy_threads = static_cast<int>(get_integer(value, key, 0, 256));
  } else if (key == "persistent_l2_bytes") {
    options.persistent_l2_bytes = get_integer(value, key, 0, kMaxBytes);
  } else if (key == "weight_budget_bytes") {
    options.weight_budget_bytes = get_integer(value, key, 0, kMaxBytes);
  } else if (key == "block") {
    options.block = get<bool>(value, key, "true or false");
  } else if (key == "quick") {
    options.quick = get<bool>(value, key, "true or false");
  } else if (key == "batch_limit") {
    options.batch_limit = static_cast<std::size_t>(get_integer(value, key, 1, 1024));
  } else if (key != "precision" && key != "threads" && key != "prefer_cpu") {
    // Those three belong to modules that open weights or run on a CPU: a plan has its precision and its device already.
    wrong(key, "is unknown to this backend's open");
  }
}

}  // namespace

BuildOptions parse_build_options(const char* json) {
  BuildOptions options;
  const Json given = parse(json);
  for (const auto& [key, value] : given.items()) {
    if (!value.is_null()) apply(options, key, value);
  }
  if (options.profiles.empty()) options.profiles = {{1, 8, 32}};
  return options;
}

OpenOptions parse_open_options(const char* json) {
  OpenOptions options;
  const Json given = parse(json);
  for (const auto& [key, value] : given.items()) {
    if (!value.is_null()) apply(options, key, value);
  }
  return options;
}

}  // namespace ferry::nvinfer
