// torchvision/models/resnet.py, release 0.14 and later: the `url`, `_file_size` and `acc@1` of each weight set.
#include <algorithm>
#include <cctype>

#include "ferry/fetch.h"

namespace ferry {

const std::vector<PublishedWeights>& published_weights() {
  constexpr const char* kV1 = "IMAGENET1K_V1";
  constexpr const char* kV2 = "IMAGENET1K_V2";
  static const std::vector<PublishedWeights> all = {
      {"resnet18", kV1, "resnet18-f37072fd.pth", 44.661, 69.758, 256},
      {"resnet34", kV1, "resnet34-b627a593.pth", 83.275, 73.314, 256},
      {"resnet50", kV1, "resnet50-0676ba61.pth", 97.781, 76.130, 256},
      {"resnet50", kV2, "resnet50-11ad3fa6.pth", 97.790, 80.858, 232},
      {"resnet101", kV1, "resnet101-63fe2227.pth", 170.511, 77.374, 256},
      {"resnet101", kV2, "resnet101-cd907fc2.pth", 170.530, 81.886, 232},
      {"resnet152", kV1, "resnet152-394f9c45.pth", 230.434, 78.312, 256},
      {"resnet152", kV2, "resnet152-f82ba261.pth", 230.474, 82.284, 232},
      {"resnext50_32x4d", kV1, "resnext50_32x4d-7cdf4587.pth", 95.789, 77.618, 256},
      {"resnext50_32x4d", kV2, "resnext50_32x4d-1a0047aa.pth", 95.833, 81.198, 232},
      {"resnext101_32x8d", kV1, "resnext101_32x8d-8ba56ff5.pth", 339.586, 79.312, 256},
      {"resnext101_32x8d", kV2, "resnext101_32x8d-110c445d.pth", 339.673, 82.834, 232},
      {"resnext101_64x4d", kV1, "resnext101_64x4d-173b62eb.pth", 319.318, 83.246, 232},
      {"wide_resnet50_2", kV1, "wide_resnet50_2-95faca4d.pth", 131.820, 78.468, 256},
      {"wide_resnet50_2", kV2, "wide_resnet50_2-9ba9bcbe.pth", 263.124, 81.602, 232},
      {"wide_resnet101_2", kV1, "wide_resnet101_2-32ee1156.pth", 242.896, 78.848, 256},
      {"wide_resnet101_2", kV2, "wide_resnet101_2-d733dc28.pth", 484.747, 82.510, 232},
  };
  return all;
}

std::string PublishedWeights::sha256_start() const {
  const std::size_t dash = file.rfind('-');
  return file.substr(dash + 1, file.rfind('.') - dash - 1);
}

const PublishedWeights* find_published(const std::string& name) {
  const std::size_t colon = name.find(':');
  const std::string network = name.substr(0, colon);
  std::string set = colon == std::string::npos ? "" : name.substr(colon + 1);
  std::transform(set.begin(), set.end(), set.begin(), [](unsigned char c) { return std::toupper(c); });
  if (set == "V1" || set == "V2") set = "IMAGENET1K_" + set;
  const PublishedWeights* found = nullptr;
  for (const PublishedWeights& weights : published_weights()) {
    if (weights.file == name) return &weights;
    if (weights.network != network) continue;
    if (colon == std::string::npos || weights.set == set) found = &weights;  // the last set is the default one
  }
  return found;
}

}  // namespace ferry
