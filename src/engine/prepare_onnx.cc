// Checkpoint -> ONNX through the cache.
#include <fmt/format.h>

#include <filesystem>

#include "base/files.h"
#include "engine/lock.h"
#include "engine/onnx_digest.h"
#include "engine/remember.h"
#include "ferry/pipeline.h"

namespace ferry {
namespace {

// Raise it with every change of what the exporter writes: files of another number are not taken from the cache.
constexpr int kExporterRevision = 3;

std::string options_text(const ExportOptions& o) {
  std::string text = fmt::format("{} io16={} bn={} {}x{} {}", name_of(o.precision), o.fp16_io, o.keep_batch_norm,
                                 o.height, o.width, to_json(o.form));
  for (const auto& [key, value] : o.metadata) text += fmt::format("\n{} {} {}", key.size(), key, value);
  return text;
}

bool complete(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);  // written under another name and renamed: there means complete
}

}  // namespace

std::string identity_of_checkpoint(const std::string& path) {
  return "checkpoint " + remembered_sha256(path, Stage::kCheckpoint);
}

std::string identity_of_random(const ResNetArchitecture& a, std::uint64_t seed) {
  std::string text = fmt::format("random weights, seed {}: block {} groups {} stem {} input {} classes {}", seed,
                                 static_cast<int>(a.block), a.groups, a.stem_channels, a.input_channels, a.num_classes);
  for (std::size_t i = 0; i < a.depths.size(); ++i)
    text += fmt::format(" stage {} {} {}", a.depths[i], a.planes[i], a.widths[i]);
  return text;
}

GraphForm remembered_form(const std::string& onnx_path) {
  const auto find_out = [&] { return to_json(form_of(OnnxModel::load(onnx_path).summary().metadata, onnx_path)); };
  return form_from_json(remembered(onnx_path, "form", Stage::kOnnx, find_out), onnx_path);
}

PreparedOnnx prepare_onnx(const std::string& identity, const ExportOptions& options,
                          const std::function<const ResNet&()>& network) {
  const std::string key =
      sha256(fmt::format("{}\n{}\n{} {}", identity, options_text(options), FERRY_VERSION, kExporterRevision));
  PreparedOnnx prepared;
  prepared.path = fmt::format("{}/{}-{}.onnx", cache_path("onnx"), key.substr(0, 16), name_of(options.precision));
  const FileLock lock(key.substr(0, 16), "the same ONNX file", {}, {});
  prepared.cache_hit = complete(prepared.path);
  if (prepared.cache_hit) {
    prepared.sha256 = onnx_digest(prepared.path, Stage::kOnnx);
  } else {
    prepared.sha256 = export_onnx(network(), options).save(prepared.path);
    remember_onnx_digest(prepared.path, prepared.sha256);
  }
  return prepared;
}

}  // namespace ferry
