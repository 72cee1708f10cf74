#include "nvinfer/logger.h"

#include <algorithm>

namespace ferry::nvinfer {

class Logger final : public nvinfer1::ILogger {
 public:
  // Never destroyed: the SDK may log while the process ends.
  static Logger& instance() {
    static Logger* logger = new Logger;
    return *logger;
  }

  void log(Severity severity, const nvinfer1::AsciiChar* line) noexcept override {
    // Both error levels are errors: the SDK calls a merely missing driver an internal error.
    const int level = severity <= Severity::kERROR ? 0 : static_cast<int>(severity) - 1;
    try {
      const std::lock_guard lock(mutex_);
      for (Listener* listener : listeners_) listener->hear(level, line);
    } catch (...) {  // out of memory for a log line: nothing may leave this function
    }
  }

  void add(Listener* listener) {
    const std::lock_guard lock(mutex_);
    listeners_.push_back(listener);
  }
  void remove(Listener* listener) {
    const std::lock_guard lock(mutex_);
    listeners_.erase(std::remove(listeners_.begin(), listeners_.end(), listener), listeners_.end());
  }

 private:
  std::mutex mutex_;
  std::vector<Listener*> listeners_;
};

nvinfer1::ILogger& logger() { return Logger::instance(); }

Listener::Listener(const ferry_log& log) : log_(log) { Logger::instance().add(this); }
Listener::~Listener() { Logger::instance().remove(this); }

void Listener::hear(int severity, const char* line) {
  constexpr std::size_t kKept = 200;
  if (severity <= 1) {
    const std::lock_guard lock(mutex_);
    // The first ones are the cause and the last ones the outcome; a flood in between is not needed.
    if (problems_.size() >= kKept) problems_.erase(problems_.begin() + kKept / 2);
    problems_.emplace_back(line);
  }
  if (log_.line != nullptr) log_.line(log_.user, severity, line);
}

void Listener::say(int severity, const std::string& line) const {
  if (log_.line != nullptr) log_.line(log_.user, severity, line.c_str());
}

std::vector<std::string> Listener::problems() const {
  const std::lock_guard lock(mutex_);
  return problems_;
}

void Listener::forget() {
  const std::lock_guard lock(mutex_);
  problems_.clear();
}

}  // namespace ferry::nvinfer
