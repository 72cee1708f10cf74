#include "engine/open_model.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "engine/choose.h"
#include "ferry/engine_file.h"
#include "ferry/error.h"
#include "ferry/plan_set.h"

namespace ferry {
namespace {

bool is_one_of(const std::string& extension, std::initializer_list<const char*> list) {
  return std::any_of(list.begin(), list.end(), [&](const char* e) { return extension == e; });
}

// A zip archive (torch) or a safetensors header.
bool looks_like_checkpoint(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 9> head{};
  file.read(head.data(), head.size());
  return std::string_view(head.data(), 4) == "PK\x03\x04" || (file.gcount() == 9 && head[8] == '{');
}

// Other tools' files are brought into the form that every backend takes.
std::string onnx_bytes(const std::string& path) {
  OnnxModel model = OnnxModel::load(path);
  if (!model.summary().producer.starts_with("ferry")) prepare_foreign(model);
  return model.serialize();
}

}  // namespace

FileKind kind_of(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (extension == ".onnx") return FileKind::kOnnx;
  std::error_code error;
  if (std::filesystem::exists(sidecar_path(path), error)) return FileKind::kPlan;
  if (is_one_of(extension, {".pth", ".pt", ".safetensors", ".ckpt", ".bin"})) return FileKind::kCheckpoint;
  if (is_one_of(extension, {".plan", ".engine", ".trt"})) return FileKind::kPlan;
  if (is_plan_set(path)) return FileKind::kPlan;
  return looks_like_checkpoint(path) ? FileKind::kCheckpoint : FileKind::kPlan;
}

Engine open_onnx_file(const std::string& path, const OpenOptions& options, const Log& log) {
  const Backend backend = choose_opener("onnx", path, options);
  return backend.open_onnx(onnx_bytes(path), options, log);
}

Engine open_checkpoint(const std::string& path, const OpenOptions& options, const Log& log) {
  for (const BackendInfo& info : Backend::list()) {  // in order of preference, whatever it opens
    if (!info.usable) continue;
    const bool weights = std::count(info.opens.begin(), info.opens.end(), "weights") > 0;
    const bool onnx = std::count(info.opens.begin(), info.opens.end(), "onnx") > 0;
    if (!weights && !onnx) continue;
    const ResNet network = load_resnet(Checkpoint::open(path));
    const Backend backend = Backend::load(info.name);
    if (weights) return backend.open_weights(network, options, log);
    ExportOptions exporting;
    exporting.precision = precision_named(options.precision);
    return backend.open_onnx(export_onnx(network, exporting).serialize(), options, log);
  }
  choose_opener("weights", path, options);  // throws, saying why
  throw Error(Stage::kOpen, path, "no backend can run it here");
}

}  // namespace ferry
