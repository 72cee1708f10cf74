// docs/results.schema.json is the contract: the writer is held to it by a validator of its own, and by Python's
// jsonschema where that is installed.
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "crafted.h"

namespace ferry {
namespace {

using nlohmann::json;

json schema() {
  std::ifstream file(std::string(FERRY_SOURCE_DIR) + "/docs/results.schema.json");
  return json::parse(file);
}

bool has_type(const json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return type == "null" && value.is_null();
}

// The part of JSON Schema that the file uses. `at` names the place in messages.
class Validator {
 public:
  explicit Validator(json schema) : root_(std::move(schema)) {}
  std::vector<std::string> problems(const json& value) {
    check(value, root_, "$");
    return problems_;
  }

 private:
  void check(const json& value, const json& rule, const std::string& at) {
    if (rule.contains("$ref")) {
      const std::string name = rule["$ref"];
      check(value, root_.at(json::json_pointer(name.substr(1))), at);
    }
    if (rule.contains("const") && value != rule["const"]) problems_.push_back(at + ": not the constant");
    if (rule.contains("enum") && std::count(rule["enum"].begin(), rule["enum"].end(), value) == 0)
      problems_.push_back(at + ": not in enum: " + value.dump());
    if (rule.contains("type")) check_type(value, rule["type"], at);
    if (rule.contains("minimum") && value.is_number() && value < rule["minimum"])
      problems_.push_back(at + ": too small");
    if (rule.contains("maximum") && value.is_number() && value > rule["maximum"])
      problems_.push_back(at + ": too large");
    if (value.is_object()) check_object(value, rule, at);
    if (value.is_array() && rule.contains("items"))
      for (std::size_t i = 0; i < value.size(); ++i) check(value[i], rule["items"], at + "[" + std::to_string(i) + "]");
  }
  void check_type(const json& value, const json& type, const std::string& at) {
    const json types = type.is_array() ? type : json::array({type});
    for (const json& t : types)
      if (has_type(value, t)) return;
    problems_.push_back(at + ": wrong type: " + value.dump());
  }
  void check_object(const json& value, const json& rule, const std::string& at) {
    for (const json& key : rule.value("required", json::array()))
      if (!value.contains(key)) problems_.push_back(at + ": lacks " + key.get<std::string>());
    if (!rule.contains("properties")) return;
    for (const auto& [key, member] : value.items()) {
      if (rule["properties"].contains(key)) {
        check(member, rule["properties"][key], at + "." + key);
      } else {
        problems_.push_back(at + ": undocumented key " + key);
      }
    }
  }
  json root_;
  std::vector<std::string> problems_;
};

json results() {
  BackendInfo info;
  info.name = "a";
  info.devices = {{"gpu", "G", "8.9", "580", "13.0", 8, 0}};
  Comparison c = crafted();
  c.machine_json = machine_json({info});
  return json::parse(to_json(c));
}

TEST(ResultsSchema, DescribesWhatIsWritten) {
  EXPECT_THAT(Validator(schema()).problems(results()), testing::IsEmpty());
  EXPECT_THAT(Validator(schema()).problems(json::parse(to_json(Comparison{}))), testing::IsEmpty());
}

TEST(ResultsSchema, FindsWhatIsWrong) {
  for (const char* pointer : {"/results/0/median_ms", "/machine", "/results/1/ok", "/results/2/warnings", "/format"}) {
    json changed = results();
    changed[json::json_pointer(pointer)] = "wrong";
    EXPECT_THAT(Validator(schema()).problems(changed), testing::Not(testing::IsEmpty())) << pointer;
  }
  json changed = results();
  changed["results"][0].erase("relative_error");
  EXPECT_THAT(Validator(schema()).problems(changed), testing::Not(testing::IsEmpty()));
  changed = results();
  changed["results"][1]["against_device"]["load"].erase("images_per_second");
  EXPECT_THAT(Validator(schema()).problems(changed), testing::Not(testing::IsEmpty()));
  changed = results();
  changed["results"][0]["mode"] = "fast";
  EXPECT_THAT(Validator(schema()).problems(changed), testing::Not(testing::IsEmpty()));
}

// The published measurements: rows of every kind in one form, each naming the run that it belongs to.
TEST(ResultsSchema, DescribesThePublishedMeasurements) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FERRY_SOURCE_DIR "/docs/benchmarks")) {
    if (entry.path().extension() != ".json") continue;
    ++files;
    std::ifstream file(entry.path());
    const json measured = json::parse(file);
    EXPECT_THAT(Validator(schema()).problems(measured), testing::IsEmpty()) << entry.path();
    std::vector<std::string> runs, engines, modes;
    for (const json& run : measured.at("runs")) {
      runs.push_back(run.at("name"));
      EXPECT_NE(run.at("command"), "") << run;
      EXPECT_NE(run.at("started_at"), "") << run;
    }
    for (const json& row : measured.at("results")) {
      EXPECT_THAT(runs, testing::Contains(row.at("run").get<std::string>()));
      EXPECT_GT(row.at("median_ms").get<double>(), 0) << row;
      engines.push_back(row.at("engine"));
      modes.push_back(row.at("mode"));
    }
    EXPECT_THAT(engines, testing::IsSupersetOf({"TensorRT", "TensorRT API, plain"})) << entry.path();
    EXPECT_THAT(modes, testing::IsSupersetOf({"latency", "throughput"})) << entry.path();
    const Comparison read = comparison_from_json(measured.dump(), entry.path().string());  // ferry report takes it too
    EXPECT_EQ(read.rows.size(), measured["results"].size());
  }
  EXPECT_GE(files, 1);
}

TEST(ResultsSchema, PythonAgrees) {
  if (std::system("python3 -c 'import jsonschema' 2>/dev/null") != 0) GTEST_SKIP() << "python3 has no jsonschema";
  const auto file = std::filesystem::temp_directory_path() / ("ferry-results-" + std::to_string(::getpid()) + ".json");
  std::ofstream(file) << results();
  const std::string script =
      "python3 -c \"import json, jsonschema, sys; jsonschema.validate(json.load(open(sys.argv[1])), "
      "json.load(open(sys.argv[2])))\" '" +
      file.string() + "' '" FERRY_SOURCE_DIR "/docs/results.schema.json'";
  EXPECT_EQ(std::system(script.c_str()), 0);
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace ferry
