// The SDK's log. The SDK keeps the first logger it is given for the whole process, so there is one, and whoever is at
// work listens to it.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "backend_abi.h"
#include "nvinfer/sdk.h"

namespace ferry::nvinfer {

/// Hears every line of the SDK while it exists (also those of other work at the same time: the SDK does not say whose a
/// line is). Passes them on, and keeps the last errors and warnings for a failure's message.
class Listener {
 public:
  explicit Listener(const ferry_log& log);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  /// A line of our own among the SDK's. severity: 0 error, 1 warning, 2 info, 3 verbose.
  void say(int severity, const std::string& line) const;
  /// Errors and warnings so far, in order.
  std::vector<std::string> problems() const;
  void forget();

 private:
  friend class Logger;
  void hear(int severity, const char* line);
  ferry_log log_;
  mutable std::mutex mutex_;
  std::vector<std::string> problems_;
};

/// What the SDK gets as its logger.
nvinfer1::ILogger& logger();

}  // namespace ferry::nvinfer
