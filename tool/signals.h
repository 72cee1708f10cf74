// Ctrl-C: the first asks the work to stop (its progress callback returns false), the second ends the process at once,
// after removing temporary files.
#pragma once

#include <string>
#include <vector>

namespace ferry::tool {

/// For SIGINT, SIGTERM and SIGHUP.
void install_signal_handlers();

bool interrupted() noexcept;
/// Throws Error(kInterrupted) if a signal came: between stages that have no progress callback.
void throw_if_interrupted();

/// A private folder for files that go to another process. Removed with its files by the destructor and, if it comes to
/// that, by the second Ctrl-C.
class TemporaryFolder {
 public:
  TemporaryFolder();  // throws Error(kCompare)
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  /// The path of a file in it; the file need not exist yet.
  std::string file(const std::string& name);

 private:
  std::string path_;
};

}  // namespace ferry::tool
