// Where built engines lie, and what makes two of them the same.
#pragma once

#include <optional>
#include <string>

#include "ferry/engine_file.h"

namespace ferry {

/// Everything that shapes a plan. Two builds with the same key give interchangeable plans.
struct CacheKey {
  std::string onnx_sha256, backend, sdk_version;
  std::string gpu, compute_capability;  // of this machine's GPU, or only the capability for an ahead-of-time build
  BuildOptions options;                 // profiles filled in
};

/// SHA-256 over a canonical text of the key.
std::string digest(const CacheKey& key);

/// The plan of a key in the cache: engines/<backend>-<16 digits>.plan.
std::string cached_plan_path(const CacheKey& key);

/// The sidecar of a plan if the pair is there, whole and of this key. Otherwise nothing, and `why` says in words what
/// is missing or different. Never throws for a damaged file: that is a reason to build again.
std::optional<Sidecar> find_engine(const std::string& plan_path, const CacheKey& key, std::string& why);

/// Why the cache has nothing for this key: "no entry", or how the nearest entry of this network differs.
std::string reason_for_miss(const CacheKey& key);

/// The timing cache of this backend, SDK and GPU: empty if there is none; storing it is best effort.
std::string load_timing_cache(const CacheKey& key);
void store_timing_cache(const CacheKey& key, const std::string& bytes);

}  // namespace ferry
