#include "checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/files.h"
#include "ferry/error.h"

namespace ferry {
namespace {

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ >= 0) return;
    const int why = errno;
    throw Error(Stage::kCheckpoint, path, std::string("cannot read: ") + std::strerror(why),
                why == ENOENT ? "Check the path; 'ferry fetch' downloads published weights." : "");
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(fd_); }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  const Descriptor file(path);
  struct stat info {};
  const bool regular = ::fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0;
  if (regular) {
    size_ = static_cast<std::size_t>(info.st_size);
    map_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (map_ != MAP_FAILED) return;
    map_ = nullptr;
  }
  copy_ = read_file(path, Stage::kCheckpoint);
}

MappedFile MappedFile::of_bytes(std::string bytes) {
  MappedFile file;
  file.copy_ = std::move(bytes);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : copy_(std::move(other.copy_)), map_(std::exchange(other.map_, nullptr)), size_(other.size_) {}

MappedFile::~MappedFile() {
  if (map_ != nullptr) ::munmap(map_, size_);
}

std::string_view MappedFile::bytes() const noexcept {
  return map_ != nullptr ? std::string_view(static_cast<const char*>(map_), size_) : std::string_view(copy_);
}

void MappedFile::forget(const void* data, std::size_t size) const noexcept {
  const auto map = reinterpret_cast<std::uintptr_t>(map_), at = reinterpret_cast<std::uintptr_t>(data);
  if (map_ == nullptr || at < map || at + size > map + size_) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t first = (at + page - 1) / page * page, last = (at + size) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace ferry
