// A lock between processes, so that two of them do not build the same engine at once.
#pragma once

#include <string>

#include "ferry/backend.h"

namespace ferry {

/// Holds `flock` on a file in the cache until destroyed; the kernel frees it if the process dies. The file stays: it is
/// empty, and removing it would let two processes lock different files of one name.
class FileLock {
 public:
  /// Waits for whoever has it, telling `log` once and asking `progress` again and again, which may cancel (then throws
  /// Error(kInterrupted)). On a file system without locks it goes on without one.
  FileLock(const std::string& name, const std::string& what, const Progress& progress, const Log& log);
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  int fd_ = -1;
};

}  // namespace ferry
