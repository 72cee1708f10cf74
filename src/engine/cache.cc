#include "engine/cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/files.h"
#include "engine/commands.h"
#include "engine/json.h"
#include "ferry/pipeline.h"

namespace ferry {
namespace {

constexpr int kKeyVersion = 1;
constexpr int kMostNeighbours = 500;  // entries looked at to explain a miss

Json shaping_options(const BuildOptions& options) {
  Json json = build_options_json(options);
  json.erase("device");  // which of two equal GPUs built it does not matter
  return json;
}

// The first thing in which a built engine is not what is wanted now.
std::string difference(const Sidecar& s, const CacheKey& key) {
  if (s.onnx_sha256 != key.onnx_sha256) return "the ONNX file is another one than it was built from";
  if (s.backend != key.backend) return fmt::format("it was built by {}, not {}", s.backend, key.backend);
  if (s.sdk_version != key.sdk_version) return fmt::format("SDK {} is not {}", s.sdk_version, key.sdk_version);
  if (s.compute_capability != key.compute_capability)
    return fmt::format("it was built for compute capability {}, not {}", s.compute_capability, key.compute_capability);
  if (!key.gpu.empty() && s.gpu != key.gpu) return fmt::format("it was built on {}, not {}", s.gpu, key.gpu);
  if (s.profiles != key.options.profiles)
    return fmt::format("batch {} is not {}", batch_list(s.profiles), batch_list(key.options.profiles));
  return "the build options are others";
}

std::string slug(const std::string& text) {
  std::string result;
  for (const char c : text) result += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' ? c : '_';
  return result;
}

std::string timing_cache_path(const CacheKey& key) {
  const std::string gpu = key.gpu.empty() ? "sm" + key.compute_capability : key.gpu;
  return fmt::format("{}/{}-{}-{}.timing", cache_path("timing"), key.backend, slug(key.sdk_version), slug(gpu));
}

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

}  // namespace

std::string digest(const CacheKey& key) {
  const Json json = {{"key", kKeyVersion},
                     {"onnx", key.onnx_sha256},
                     {"backend", key.backend},
                     {"sdk", key.sdk_version},
                     {"gpu", key.gpu},
                     {"compute_capability", key.compute_capability},
                     {"options", shaping_options(key.options)}};
  return sha256(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::string cached_plan_path(const CacheKey& key) {
  return fmt::format("{}/{}-{}.plan", cache_path("engines"), key.backend, digest(key).substr(0, 16));
}

std::optional<Sidecar> find_engine(const std::string& plan_path, const CacheKey& key, std::string& why) {
  if (!exists(plan_path)) {
    why = "no entry";
    return std::nullopt;
  }
  try {
    Sidecar sidecar = read_sidecar(plan_path);
    if (sidecar.cache_key != digest(key)) {
      why = difference(sidecar, key);
    } else if (remembered_sha256(plan_path, Stage::kBuild) != sidecar.plan_sha256) {
      why = "the plan is not the one its sidecar describes";
    } else {
      return sidecar;
    }
  } catch (const Error& error) {
    why = error.cause();
  }
  return std::nullopt;
}

std::string reason_for_miss(const CacheKey& key) {
  int looked_at = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(cache_path("engines"), ignored)) {
    if (entry.path().extension() != ".json" || ++looked_at > kMostNeighbours) continue;
    try {
      const Sidecar s = sidecar_from_json(read_file(entry.path().string(), Stage::kBuild), entry.path().string());
      if (s.onnx_sha256 == key.onnx_sha256 && s.backend == key.backend) return difference(s, key);
    } catch (const Error&) {
      continue;  // a damaged neighbour explains nothing
    }
  }
  return "no entry";
}

std::string load_timing_cache(const CacheKey& key) {
  const std::string path = timing_cache_path(key);
  try {
    return exists(path) ? read_file(path, Stage::kBuild) : std::string();
  } catch (const Error&) {
    return {};
  }
}

void store_timing_cache(const CacheKey& key, const std::string& bytes) {
  if (bytes.empty()) return;
  try {
    write_file(timing_cache_path(key), bytes, Stage::kBuild);
  } catch (const Error&) {  // only speed is lost
  }
}

}  // namespace ferry
