// One HTTP download into a file that may already hold its beginning.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "ferry/fetch.h"

namespace ferry {

/// A file being downloaded, locked against other processes. The lock ends with the object; the file stays.
class PartFile {
 public:
  /// Opens or creates; throws Error(kFetch) if it cannot, or if another process is downloading it.
  explicit PartFile(std::string path);
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  ~PartFile();

  const std::string& path() const noexcept { return path_; }
  std::int64_t size() const;                                 // throws Error
  bool append(const char* data, std::size_t size) noexcept;  // false: see errno
  void restart();                                            // throws Error
  void flush();                                              // throws Error

 private:
  [[noreturn]] void fail(const char* what) const;
  std::string path_;
  int fd_;
};

/// Adds what is missing of `url` to `part`. Throws Error(kFetch) with a hint that names `url` and `target`, or
/// Error(kInterrupted).
void download(const std::string& url, PartFile& part, const FetchOptions& options, const std::string& target);

}  // namespace ferry
