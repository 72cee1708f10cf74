// What a GPU could do at most: dense products of its tensor cores at its highest clock, and its memory's bandwidth.
#pragma once

#include <limits>
#include <map>
#include <string>

namespace ferry::cuda {

struct Peaks {
  std::map<std::string, double>
      flops_per_second;  // by the inspector's word for a type; empty for a card not known here
  double bytes_per_second = std::numeric_limits<double>::quiet_NaN();
};

/// Never throws; what the driver does not tell is left out.
Peaks peaks(int device_index) noexcept;

/// Operations of one multiprocessor in one clock (a multiply-add counts as two), FP32 accumulation; 0 if unknown.
struct PerClock {
  double single = 0, half = 0, int8 = 0;
};
PerClock per_clock(int major, int minor) noexcept;

}  // namespace ferry::cuda
