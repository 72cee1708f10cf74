// How long the blocks of the kernel wait for each other before they give up.
#pragma once

namespace ferry::latency {

inline constexpr double kWatchdogSeconds = 2;

/// The wait in seconds: what `text`, the value of $FERRY_WATCHDOG, says, or kWatchdogSeconds if it is null or empty.
/// Tools that slow the kernel down (compute-sanitizer's racecheck: a thousand times and more) need a longer one. Throws
/// nvinfer::Failure unless it is a number of seconds from 0.001 to 1,000,000.
double watchdog_seconds(const char* text);

/// In clock cycles of a multiprocessor, which the kernel counts: at 2 GHz.
constexpr long long watchdog_cycles(double seconds) { return static_cast<long long>(seconds * 2e9); }

}  // namespace ferry::latency
