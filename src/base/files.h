// Files: read whole, hash, and write so that nothing half-written is ever seen.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "ferry/error.h"
#include "ferry/files.h"

namespace ferry {

/// The whole file; throws Error(stage) naming the path and the system's reason.
std::string read_file(const std::string& path, Stage stage);

/// Lower-case hex SHA-256.
std::string sha256(std::string_view bytes);

/// A file under a temporary name beside its target: `commit` flushes it to disk and renames; without `commit` (an
/// exception, Ctrl-C turned into Error) the destructor removes it and the target stays as it was.
class AtomicFile {
 public:
  AtomicFile(std::string target, Stage stage);  // throws Error
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(const void* data, std::size_t size);  // throws Error (disk full, ...)
  void write(std::string_view text) { write(text.data(), text.size()); }
  const std::string& temporary_path() const noexcept { return temporary_; }
  void flush();   // to disk, so that a later commit can hardly fail; throws Error
  void commit();  // throws Error

 private:
  [[noreturn]] void fail(const std::string& what);
  std::string target_, temporary_;
  Stage stage_;
  int fd_ = -1;
  bool flushed_ = false, committed_ = false;
};

/// $XDG_CACHE_HOME/ferry or ~/.cache/ferry, and folders below it; created on demand.
std::string cache_path(const std::string& below);

}  // namespace ferry
