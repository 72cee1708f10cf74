#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "ferry/error.h"
#include "fetch/download.h"

namespace ferry {

PartFile::PartFile(std::string path)
    : path_(std::move(path)), fd_(::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  if (fd_ < 0) fail("cannot write");
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  const bool busy = errno == EWOULDBLOCK;
  if (!busy) return;  // a file system without locks
  ::close(fd_);
  fd_ = -1;
  throw Error(Stage::kFetch, path_, "another process is downloading this file", "Wait for it, then run this again.");
}

PartFile::~PartFile() {
  if (fd_ >= 0) ::close(fd_);
}

std::int64_t PartFile::size() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) fail("cannot read");
  return info.st_size;
}

bool PartFile::append(const char* data, std::size_t size) noexcept {
  while (size > 0) {
    const ssize_t written = ::write(fd_, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    data += written;
    size -= static_cast<std::size_t>(written);
  }
  return true;
}

void PartFile::restart() {
  if (::ftruncate(fd_, 0) != 0) fail("cannot empty");
}

void PartFile::flush() {
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != ENOTSUP) fail("cannot flush");
}

void PartFile::fail(const char* what) const {
  throw Error(Stage::kFetch, path_, std::string(what) + ": " + std::strerror(errno),
              "Free some room, or set XDG_CACHE_HOME to another folder.");
}

}  // namespace ferry
