#include "engine/plan_set_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "engine/commands.h"

namespace ferry {

std::string part_path(const std::string& set_path, const PlanSet::Part& part) {
  return (std::filesystem::path(set_path).parent_path() / part.file).string();
}

std::string part_file(const std::string& set_path, const std::string& backend) {
  const std::filesystem::path set = std::filesystem::path(set_path).filename();
  const std::string extension = set.has_extension() ? set.extension().string() : ".plan";
  return set.stem().string() + "." + backend + extension;
}

std::string rebuild_command(const PlanSet& set, const std::string& path) {
  return fmt::format("`ferry build {} --backend {} --batch {} -o {}`",
                     shell_quoted(set.onnx_path.empty() ? "MODEL.onnx" : set.onnx_path),
                     set.backends.empty() ? "auto" : fmt::format("{}", fmt::join(set.backends, ",")),
                     fmt::join(set.batches, ","), shell_quoted(path));
}

}  // namespace ferry
