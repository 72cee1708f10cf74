// Proof of precision: an engine that did not get the types its graph asks for is a failure, not a surprise.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "engine/json.h"
#include "ferry/error.h"

namespace ferry {
namespace {

struct Counted {
  std::int64_t narrow = 0, typed = 0;
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool is_narrow(const std::string& precision, const std::string& type) {
  if (type.find("int8") != std::string::npos || type.find("fp8") != std::string::npos) return true;
  if (precision == "int8") return false;
  return type.find("half") != std::string::npos || type.find("16") != std::string::npos;
}

// Integer bookkeeping (shapes, indices) has no precision to lose and is not counted.
bool is_arithmetic(const std::string& precision, const std::string& type) {
  return is_narrow(precision, type) || type.find("float") != std::string::npos ||
         type.find("fp") != std::string::npos || type.find("half") != std::string::npos;
}

Counted count(const std::string& precision, const Json& by_type) {
  Counted counted;
  for (const auto& [name, layers] : by_type.items()) {
    const std::string type = lower(name);
    if (!is_arithmetic(precision, type)) continue;
    counted.typed += layers.get<std::int64_t>();
    if (is_narrow(precision, type)) counted.narrow += layers.get<std::int64_t>();
  }
  return counted;
}

}  // namespace

void check_precision(const std::string& precision, const std::string& proof_json, const std::string& plan_path) {
  const Json proof = embedded(proof_json);
  if (precision == "fp32" || !proof.is_object() || !proof.contains("by_type")) return;
  Counted counted;
  try {
    counted = count(precision, proof["by_type"]);
  } catch (const std::exception& error) {
    throw Error(Stage::kBuild, plan_path, fmt::format("the proof of precision cannot be read: {}", error.what()));
  }
  if (counted.typed == 0 || 2 * counted.narrow >= counted.typed) return;
  throw Error(Stage::kBuild, plan_path,
              fmt::format("the graph asks for {}, but only {} of {} layers got it ({})", precision, counted.narrow,
                          counted.typed, proof["by_type"].dump()),
              "This SDK and GPU have no fast layers of that type; build in another precision or with another backend.");
}

}  // namespace ferry
