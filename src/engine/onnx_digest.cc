#include "engine/onnx_digest.h"

#include <filesystem>
#include <sstream>

#include "base/files.h"
#include "engine/remember.h"
#include "ferry/pipeline.h"
#include "onnx/external_files.h"

namespace ferry {
namespace {

// The file's SHA-256, then the names of the files that hold its weights, one a line.
std::string look_into(const std::string& path, Stage stage) {
  const std::string bytes = read_file(path, stage);
  std::string text = sha256(bytes);
  for (const std::string& file : external_files(bytes)) text += "\n" + file;
  return text;
}

}  // namespace

std::string onnx_digest(const std::string& path, Stage stage) {
  std::istringstream facts(remembered(path, "onnx", stage, [&] { return look_into(path, stage); }));
  std::string digest, file, parts;
  std::getline(facts, digest);
  while (std::getline(facts, file)) {
    const std::filesystem::path weights = std::filesystem::path(path).parent_path() / file;
    parts += file + " " + remembered_sha256(weights.string(), stage) + "\n";
  }
  return parts.empty() ? digest : sha256(digest + "\n" + parts);
}

void remember_onnx_digest(const std::string& path, const std::string& sha256) { remember(path, "onnx", sha256); }

}  // namespace ferry
