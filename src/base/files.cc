#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/sha256.h"

namespace ferry {
namespace {

// Paths of the temporary files that are open now, for remove_temporary_files (no locks, no allocation there).
std::array<std::atomic<const char*>, 64> open_temporaries{};

void register_temporary(const char* path) {
  for (auto& slot : open_temporaries) {
    const char* empty = nullptr;
    if (slot.compare_exchange_strong(empty, path)) return;
  }
}

void unregister_temporary(const char* path) {
  for (auto& slot : open_temporaries) {
    const char* expected = path;
    if (slot.compare_exchange_strong(expected, nullptr)) return;
  }
}

std::string reason() { return std::strerror(errno); }

class InputFile {
 public:
  InputFile(const std::string& path, Stage stage)
      : path_(path), stage_(stage), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat info {};
    if (fd_ < 0 || ::fstat(fd_, &info) != 0) fail();
    if (S_ISDIR(info.st_mode)) {
      errno = EISDIR;
      fail();
    }
    size_ = static_cast<std::size_t>(info.st_size);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  std::size_t size() const { return size_; }
  std::size_t read(char* to, std::size_t size) {
    for (;;) {
      const ssize_t n = ::read(fd_, to, size);
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EINTR) fail();
    }
  }

 private:
  [[noreturn]] void fail() {
    const std::string why = reason();
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    throw Error(stage_, path_, "cannot read: " + why);
  }
  std::string path_;
  Stage stage_;
  int fd_;
  std::size_t size_ = 0;
};

}  // namespace

std::string read_file(const std::string& path, Stage stage) {
  InputFile file(path, stage);
  std::string bytes;
  bytes.resize(file.size());
  std::size_t have = 0;
  for (;;) {  // a pipe or a file in /proc has no size: grow until the end
    if (have == bytes.size()) bytes.resize(std::max<std::size_t>(bytes.size() + 1, bytes.size() * 2));
    const std::size_t n = file.read(bytes.data() + have, bytes.size() - have);
    if (n == 0) break;
    have += n;
    if (have == file.size() && have == bytes.size()) {
      char probe;
      const std::size_t more = file.read(&probe, 1);
      if (more == 0) break;
      bytes.push_back(probe);
      ++have;
    }
  }
  bytes.resize(have);
  return bytes;
}

std::string sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return hash.hex();
}

std::string sha256_file(const std::string& path, Stage stage) {
  InputFile file(path, stage);
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  while (const std::size_t n = file.read(buffer.data(), buffer.size())) hash.update(buffer.data(), n);
  return hash.hex();
}

AtomicFile::AtomicFile(std::string target, Stage stage) : target_(std::move(target)), stage_(stage) {
  static std::atomic<int> counter{0};
  temporary_ = target_ + ".tmp." + std::to_string(::getpid()) + "." + std::to_string(counter++);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) throw Error(stage_, target_, "cannot write: " + reason(), "Choose another place, or free some room.");
  register_temporary(temporary_.c_str());
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!committed_) ::unlink(temporary_.c_str());
  unregister_temporary(temporary_.c_str());
}

void AtomicFile::fail(const std::string& what) {
  throw Error(stage_, target_, what + ": " + reason(), "Nothing was changed. Free some room or choose another place.");
}

void AtomicFile::write(const void* data, std::size_t size) {
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd_, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot write");
    p += n;
    size -= static_cast<std::size_t>(n);
  }
}

void AtomicFile::flush() {
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != ENOTSUP) fail("cannot flush");
  flushed_ = true;
}

void AtomicFile::commit() {
  if (!flushed_) flush();
  const int closed = ::close(fd_);
  fd_ = -1;
  if (closed != 0) fail("cannot close");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("cannot rename into place");
  committed_ = true;
}

void write_file(const std::string& path, std::string_view bytes, Stage stage) {
  AtomicFile file(path, stage);
  file.write(bytes);
  file.commit();
}

void remove_temporary_files() noexcept {
  for (auto& slot : open_temporaries)
    if (const char* path = slot.load()) ::unlink(path);
}

std::string cache_path(const std::string& below) {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  std::filesystem::path root;
  if (xdg != nullptr && *xdg == '/') {
    root = xdg;
  } else if (home != nullptr && *home != '\0') {
    root = std::filesystem::path(home) / ".cache";
  } else {
    throw Error(Stage::kOpen, "cache", "neither XDG_CACHE_HOME nor HOME is set", "Set XDG_CACHE_HOME to a folder.");
  }
  const std::filesystem::path folder = root / "ferry" / below;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw Error(Stage::kOpen, folder.string(), "cannot create the cache folder: " + error.message(),
                "Set XDG_CACHE_HOME to a folder that you can write to.");
  return folder.string();
}

}  // namespace ferry
