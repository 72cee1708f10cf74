// Files: write so that nothing half-written is ever seen, hash, and clean up when a program must end at once.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "ferry/error.h"

namespace ferry {

/// Writes under a temporary name beside `path`, flushes to disk, renames. Throws Error(stage); then `path` is as it
/// was.
void write_file(const std::string& path, std::string_view bytes, Stage stage);

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

/// Lower-case hex SHA-256.
std::string sha256(std::string_view bytes);
/// The same of a file; throws Error(stage) if it cannot be read.
std::string sha256_file(const std::string& path, Stage stage);

/// Removes the temporary files that the library has open now. Async-signal-safe: for a program that leaves from a
/// signal handler. In every other case the library removes them itself.
void remove_temporary_files() noexcept;

}  // namespace ferry
