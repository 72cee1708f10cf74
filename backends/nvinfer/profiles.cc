#include "nvinfer/profiles.h"

#include "nvinfer/failure.h"

namespace ferry::nvinfer {

std::string ranges(const std::vector<Profile>& profiles) {
  std::string text;
  for (const Profile& profile : profiles) {
    if (!text.empty()) text += ", ";
    text += std::to_string(profile.min);
    if (profile.max != profile.min) text += ".." + std::to_string(profile.max);
  }
  return text;
}

int pick_profile(const std::vector<Profile>& profiles, std::int64_t batch) {
  int best = -1;
  for (int i = 0; i < static_cast<int>(profiles.size()); ++i) {
    const Profile& profile = profiles[i];
    if (batch < profile.min || batch > profile.max) continue;
    if (best < 0 || profile.max < profiles[best].max) best = i;
  }
  if (best < 0) {
    throw Failure("batch " + std::to_string(batch),
                  "the engine takes batches of " + ranges(profiles) + ", given " + std::to_string(batch),
                  "split the request, or build again with --batch covering " + std::to_string(batch));
  }
  return best;
}

}  // namespace ferry::nvinfer
