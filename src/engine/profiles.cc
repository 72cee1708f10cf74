#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "ferry/engine_file.h"
#include "ferry/error.h"

namespace ferry {
namespace {

constexpr std::int64_t kMostImages = 65536;  // in one request: 40 GB of input at 224x224
constexpr std::int64_t kGiB = std::int64_t{1} << 30;

[[noreturn]] void refuse(const std::string& text, const std::string& cause) {
  throw Error(Stage::kUsage, "--batch " + text, cause,
              "Give min:opt:max such as 1:8:64, one number, or several of these separated by commas.");
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts{""};
  for (const char c : text)
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  return parts;
}

std::int64_t number(const std::string& part, const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
  if (error != std::errc() || end != part.data() + part.size())
    refuse(text, fmt::format("'{}' is not a whole number", part));
  if (value < 1 || value > kMostImages) refuse(text, fmt::format("{} is not between 1 and {}", part, kMostImages));
  return value;
}

BatchProfile profile(const std::string& part, const std::string& text) {
  const std::vector<std::string> numbers = split(part, ':');
  if (numbers.size() == 1) {
    const std::int64_t only = number(part, text);
    return {only, only, only};
  }
  if (numbers.size() != 3) refuse(text, fmt::format("'{}' is neither one number nor min:opt:max", part));
  const BatchProfile result{number(numbers[0], text), number(numbers[1], text), number(numbers[2], text)};
  if (result.min > result.opt || result.opt > result.max)
    refuse(text, fmt::format("'{}' is not in rising order", part));
  return result;
}

}  // namespace

std::vector<BatchProfile> parse_profiles(const std::string& text) {
  std::vector<BatchProfile> profiles;
  for (const std::string& part : split(text, ',')) profiles.push_back(profile(part, text));
  return profiles;
}

std::string to_string(const BatchProfile& profile) {
  if (profile.min == profile.max) return std::to_string(profile.max);
  return fmt::format("{}:{}:{}", profile.min, profile.opt, profile.max);
}

std::vector<BatchProfile> default_profiles(const std::optional<Device>& device) {
  if (!device || device->kind != "gpu" || device->memory_bytes <= 0) return {{1, 8, 32}};
  if (device->memory_bytes < 7 * kGiB) return {{1, 8, 32}};
  if (device->memory_bytes < 20 * kGiB) return {{1, 8, 64}};
  return {{1, 8, 128}};
}

}  // namespace ferry
