// How long the fake engine takes: FERRY_FAKE_MS.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <thread>

#include "fake/faults.h"

namespace ferry::fake {

/// What FERRY_FAKE_MS says, in its order.
struct Pace {
  double fixed = 0, each = 0, copies = 0;
};

inline Pace pace() {
  Pace pace;
  const std::string text = environment("MS");
  std::size_t begin = 0;
  for (double* value : {&pace.fixed, &pace.each, &pace.copies}) {
    if (begin >= text.size()) break;
    *value = std::stod(text.substr(begin));
    const std::size_t comma = text.find(',', begin);
    begin = comma == std::string::npos ? text.size() : comma + 1;
  }
  return pace;
}

inline void wait_until(std::chrono::steady_clock::time_point begin, double least_ms) {
  if (!(least_ms > 0)) return;
  const std::chrono::duration<double, std::milli> least(least_ms);
  std::this_thread::sleep_until(begin + std::chrono::duration_cast<std::chrono::steady_clock::duration>(least));
}

inline double milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace ferry::fake
