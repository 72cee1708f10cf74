// From what the user named to an ONNX file in the cache, without doing the same work twice.
#pragma once

#include <functional>
#include <string>

#include "ferry/error.h"
#include "ferry/onnx.h"
#include "ferry/resnet.h"

namespace ferry {

/// SHA-256 of a file, remembered by path, size, inode and times, so that a second run does not read 178 MB again. A
/// file written within the last second is hashed but not remembered (its next change could look the same).
std::string remembered_sha256(const std::string& path, Stage stage);

/// An ONNX file in the cache. Its content is complete and checked; its name never changes meaning.
struct PreparedOnnx {
  std::string path, sha256;
  bool cache_hit = false;
};

/// What identifies a network's weights: the content of a checkpoint, or architecture and seed of random weights.
std::string identity_of_checkpoint(const std::string& path);
std::string identity_of_random(const ResNetArchitecture& architecture, std::uint64_t seed);

/// The form of an ONNX file, from its metadata; remembered like a hash.
GraphForm remembered_form(const std::string& onnx_path);

/// The ONNX export of a network, made or found in the cache. `network` is called only on a miss.
PreparedOnnx prepare_onnx(const std::string& identity, const ExportOptions& options,
                          const std::function<const ResNet&()>& network);

}  // namespace ferry
