// What a model's own files say about its pictures.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/open_model.h"
#include "ferry/classifier.h"
#include "ferry/engine_file.h"
#include "ferry/fetch.h"
#include "ferry/pipeline.h"
#include "ferry/plan_set.h"

namespace ferry {
namespace {

PictureFacts from_sidecar(const std::string& path) {
  std::error_code error;
  if (!is_plan_set(path) && !std::filesystem::exists(sidecar_path(path), error)) return {};
  Sidecar sidecar = describe_plan(path);
  return {std::move(sidecar.preprocessing), std::move(sidecar.class_names)};
}

PictureFacts from_metadata(const std::string& path) {
  PictureFacts facts;
  for (const auto& [key, value] : OnnxModel::load(path).summary().metadata) {
    if (key == "ferry.preprocessing" || key == "preprocessing") facts.preprocessing = value;
    if (key != "ferry.class_names" && key != "class_names") continue;
    const nlohmann::json names = nlohmann::json::parse(value, nullptr, false);
    if (!names.is_array()) continue;
    for (const auto& name : names)
      facts.class_names.push_back(name.is_string() ? name.get<std::string>() : name.dump());
  }
  return facts;
}

PictureFacts from_identity(const std::string& path) {
  const std::string digest = remembered_sha256(path, Stage::kOpen);
  for (const PublishedWeights& weights : published_weights())
    if (digest.starts_with(weights.sha256_start()))
      return {weights.resize == 232 ? "imagenet-v2" : "imagenet-v1", imagenet_classes()};
  return {};
}

}  // namespace

PictureFacts picture_facts(const std::string& model_path) {
  PictureFacts facts;
  switch (kind_of(model_path)) {
    case FileKind::kPlan:
      facts = from_sidecar(model_path);
      break;
    case FileKind::kOnnx:
      facts = from_metadata(model_path);
      break;
    case FileKind::kCheckpoint:
      facts = from_identity(model_path);
      break;
  }
  const auto& known = preprocessing_names();  // a later ferry's preset, or another tool's entry, says nothing to us
  if (std::find(known.begin(), known.end(), facts.preprocessing) == known.end()) facts.preprocessing.clear();
  return facts;
}

}  // namespace ferry
