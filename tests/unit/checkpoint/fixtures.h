// The files in tests/data/checkpoints, and the values that python/make_checkpoints.py put into them.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "ferry/checkpoint.h"
#include "ferry/error.h"

namespace ferry {

inline std::string fixture(const std::string& name) {
  return std::string(FERRY_SOURCE_DIR) + "/tests/data/checkpoints/" + name;
}

/// Element `index` of the tensor `name`.
inline double fixture_value(std::string_view name, std::int64_t index) {
  std::int64_t sum = 0;
  for (char c : name) sum += static_cast<unsigned char>(c);
  return static_cast<double>((37 * index + sum) % 255 - 127) / 64;
}

/// A file of shared/, empty if it is not there: $FERRY_SHARED, or ../shared beside the sources.
inline std::string shared_file(const std::string& below) {
  const char* variable = std::getenv("FERRY_SHARED");
  const std::string root = variable != nullptr ? variable : std::string(FERRY_SOURCE_DIR) + "/../shared";
  const std::string path = root + "/" + below;
  return std::filesystem::exists(path) ? path : std::string();
}

/// The Error that `call` throws; an Error with the cause "nothing was thrown" otherwise.
template <class Call>
Error error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error(Stage::kUsage, "", "nothing was thrown");
}

}  // namespace ferry
