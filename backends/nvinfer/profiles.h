// Optimisation profiles: the batch ranges that an engine is built for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ferry::nvinfer {

struct Profile {
  std::int64_t min = 1, opt = 1, max = 1;
  bool operator==(const Profile&) const = default;
};

/// "1..64" or "1..8, 16..64"
std::string ranges(const std::vector<Profile>& profiles);

/// The profile with the smallest maximum that takes `batch`, because kernels are chosen for a profile's sizes. Throws
/// Failure showing the batch against the ranges.
int pick_profile(const std::vector<Profile>& profiles, std::int64_t batch);

}  // namespace ferry::nvinfer
