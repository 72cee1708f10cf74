#include "cuda/watchdog.h"

#include <charconv>
#include <string_view>

#include "nvinfer/failure.h"

namespace ferry::latency {

double watchdog_seconds(const char* text) {
  const std::string_view given(text != nullptr ? text : "");
  if (given.empty()) return kWatchdogSeconds;
  double seconds = 0;
  const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), seconds);
  const bool good = error == std::errc() && end == given.data() + given.size() && seconds >= 1e-3 && seconds <= 1e6;
  if (!good)
    throw nvinfer::Failure(
        "FERRY_WATCHDOG",
        "FERRY_WATCHDOG is '" + std::string(given) + "', and must be a number of seconds from 0.001 to 1000000",
        "leave it unset: the blocks of the kernel then wait two seconds for each other");
  return seconds;
}

}  // namespace ferry::latency
