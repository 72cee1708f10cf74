// A plan and its sidecar as one thing on disk.
#pragma once

#include <optional>
#include <string>

#include "base/files.h"
#include "ferry/engine_file.h"

namespace ferry {

/// Writes both under temporary names, then renames both. Killed between the two renames, it leaves a plan whose hash is
/// not the sidecar's, which every reader treats as absent. Without `commit` nothing changes and nothing is left.
class PlanPair {
 public:
  /// Creates the temporary file of the plan now, so that a folder that cannot be written is known before a long build.
  explicit PlanPair(std::string plan_path);

  /// Writes, flushes, reads back and compares. Returns the bytes as read back.
  std::string write_plan(const std::string& plan);
  /// `sidecar.plan_sha256` must be that of the plan written.
  void commit(const Sidecar& sidecar);
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
  AtomicFile plan_;
};

}  // namespace ferry
