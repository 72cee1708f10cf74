#include "engine/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/files.h"

namespace ferry {

FileLock::FileLock(const std::string& name, const std::string& what, const Progress& progress, const Log& log) {
  const std::string path = cache_path("locks") + "/" + name + ".lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0)
    throw Error(Stage::kBuild, path, std::string("cannot open the lock: ") + std::strerror(errno),
                "Set XDG_CACHE_HOME to a folder that you can write to.");
  const std::string waiting = "waiting for another ferry that builds " + what;
  bool told = false;
  while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return;  // no locks here
    if (log && !told) log(1, waiting);
    told = true;
    if (progress && !progress(waiting, 0, 0)) {
      ::close(fd_);
      throw Error(Stage::kInterrupted, what, "stopped on request while waiting; nothing was written");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace ferry
