#include "signals.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "ferry/error.h"
#include "ferry/files.h"

namespace ferry::tool {
namespace {

std::atomic<int> signals_seen{0};

// What the second signal removes: files first, then their folder. Written before use, read by the handler; the strings
// are never freed, so that a handler running at any moment reads valid memory.
std::array<std::atomic<const char*>, 32> doomed{};

void doom(const std::string& path) {
  for (auto& slot : doomed) {
    const char* empty = nullptr;
    char* copy = ::strdup(path.c_str());
    if (slot.compare_exchange_strong(empty, copy)) return;
    std::free(copy);
  }
}

extern "C" void on_signal(int) {
  if (signals_seen.fetch_add(1) == 0) return;
  remove_temporary_files();
  for (auto at = doomed.rbegin(); at != doomed.rend(); ++at) {
    const char* path = at->load();
    if (path != nullptr && ::unlink(path) != 0) ::rmdir(path);
  }
  constexpr char kText[] = "\nferry: stopped at once\n";
  const auto written = ::write(STDERR_FILENO, kText, sizeof kText - 1);
  static_cast<void>(written);
  ::_exit(130);
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);  // nohup, background jobs: stays ignored
  }
}

bool interrupted() noexcept { return signals_seen.load() > 0; }

void throw_if_interrupted() {
  if (interrupted()) throw Error(Stage::kInterrupted, "", "stopped; nothing half-written was left behind");
}

TemporaryFolder::TemporaryFolder() {
  std::error_code error;
  std::string pattern = (std::filesystem::temp_directory_path(error) / "ferry-XXXXXX").string();
  if (error || ::mkdtemp(pattern.data()) == nullptr)
    throw Error(Stage::kCompare, pattern, std::string("cannot create a temporary folder: ") + std::strerror(errno),
                "Set TMPDIR to a folder that you can write to.");
  path_ = pattern;
  doom(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::file(const std::string& name) {
  const std::string path = path_ + "/" + name;
  doom(path);
  return path;
}

}  // namespace ferry::tool
