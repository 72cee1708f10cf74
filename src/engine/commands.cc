#include "engine/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "engine/json.h"

namespace ferry {
namespace {

bool harmless(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return std::isalnum(byte) != 0 || byte >= 0x80 || std::string_view("/._-+:,@%=").find(c) != std::string_view::npos;
}

}  // namespace

std::string batch_list(const std::vector<BatchProfile>& profiles) {
  std::vector<std::string> texts;
  texts.reserve(profiles.size());
  for (const BatchProfile& profile : profiles) texts.push_back(to_string(profile));
  return fmt::format("{}", fmt::join(texts, ","));
}

std::string shell_quoted(const std::string& word) {
  if (!word.empty() && std::all_of(word.begin(), word.end(), harmless)) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string build_command(const std::string& onnx_path, const std::string& plan_path, const std::string& backend,
                          const BuildOptions& options) {
  std::string command = "`ferry build " + shell_quoted(onnx_path) + " -o " + shell_quoted(plan_path);
  if (!backend.empty()) command += " --backend " + backend;
  if (!options.profiles.empty()) command += " --batch " + batch_list(options.profiles);
  if (!options.target.empty()) command += " --target " + options.target;
  if (options.tf32) command += " --tf32";
  if (options.weight_streaming) command += " --weight-streaming";
  return command + "`";
}

std::string rebuild_command(const Sidecar& sidecar, const std::string& plan_path, const std::string& target) {
  BuildOptions options;
  options.profiles = sidecar.profiles;
  options.target = target;
  const Json stored = embedded(sidecar.build_options_json);
  const auto asked = [&](const char* key) { return stored.is_object() && stored.value(key, Json()) == true; };
  options.tf32 = asked("tf32");
  options.weight_streaming = asked("weight_streaming");
  return build_command(sidecar.onnx_path.empty() ? "MODEL.onnx" : sidecar.onnx_path, plan_path, sidecar.backend,
                       options);
}

}  // namespace ferry
