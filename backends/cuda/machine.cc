#include "cuda/machine.h"

#include <algorithm>
#include <array>

#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

using nvinfer::Failure;

// For a GPU that is not here: a usual card of its compute capability. Where the real one has more or fewer
// multiprocessors, the plan runs all the same, with tiles that were chosen for another number.
struct Card {
  const char* compute_capability;
  int multiprocessors, shared_bytes;
  double clock_ghz;
  double product;     // cycles of m16n8k16 with sums in FP32 on a quarter of a multiprocessor
  double memory_gbs;  // of the card
};
constexpr std::array<Card, 7> kCards{{{"8.0", 108, 163 << 10, 1.41, 8, 1555},   // A100
                                      {"8.6", 28, 99 << 10, 1.78, 32, 360},     // RTX 3060
                                      {"8.9", 24, 99 << 10, 2.46, 32, 272},     // RTX 4060
                                      {"9.0", 132, 227 << 10, 1.755, 8, 3350},  // H100
                                      {"10.0", 148, 227 << 10, 1.85, 8, 7700},  // B200
                                      {"10.3", 148, 227 << 10, 1.85, 8, 7700},  // B300
                                      {"12.0", 36, 99 << 10, 2.57, 32, 448}}};  // RTX 5060 Ti

const Card* card_of(const std::string& compute_capability) {
  const auto found = std::find_if(kCards.begin(), kCards.end(),
                                  [&](const Card& card) { return card.compute_capability == compute_capability; });
  return found == kCards.end() ? nullptr : &*found;
}

/// A card's figures with the real number of multiprocessors.
Machine machine_of(const Card* card, int multiprocessors, int shared_bytes) {
  Machine machine{multiprocessors, shared_bytes};
  if (card == nullptr) return machine;
  machine.clock_ghz = card->clock_ghz;
  machine.product = card->product;
  machine.memory_gbs = card->memory_gbs * multiprocessors / card->multiprocessors;
  return machine;
}

std::string known_targets() {
  std::string text;
  for (const Card& card : kCards) text += (text.empty() ? "" : ", ") + std::string(card.compute_capability);
  return text;
}

}  // namespace

bool runs_on(const cuda::DeviceInfo& device) { return device.major >= 8; }

cuda::DeviceInfo pick_device(int index) {
  const cuda::DeviceList list = cuda::devices();
  if (list.devices.empty())
    throw Failure("GPU", "this engine needs an NVIDIA GPU: " + list.reason, list.remedy, FERRY_UNSUPPORTED);
  if (static_cast<std::size_t>(index) >= list.devices.size())
    throw Failure(
        "device",
        "device " + std::to_string(index) + " was asked for, this machine has " + std::to_string(list.devices.size()),
        "devices are numbered from 0 (ferry doctor lists them)", FERRY_UNSUPPORTED);
  const cuda::DeviceInfo& device = list.devices[static_cast<std::size_t>(index)];
  if (!runs_on(device))
    throw Failure(device.name,
                  "this engine needs compute capability 8.0 or newer, and the " + device.name + " has " +
                      device.compute_capability(),
                  "use --backend tensorrt on this GPU", FERRY_UNSUPPORTED);
  return device;
}

Target pick_target(const std::vector<std::string>& targets, int device) {
  if (targets.size() > 1)
    throw Failure("target",
                  "a plan of this engine is for one GPU, and " + std::to_string(targets.size()) + " were named",
                  "build one plan for each target", FERRY_UNSUPPORTED);
  if (targets.empty()) {
    const cuda::DeviceInfo here = pick_device(device);
    return {here.name, here.compute_capability(), here.driver,
            machine_of(card_of(here.compute_capability()), here.multiprocessors, here.shared_bytes), here};
  }
  const Card* card = card_of(targets.front());
  if (card == nullptr)
    throw Failure("target", "this engine knows no GPU of compute capability '" + targets.front() + "'",
                  "it plans for " + known_targets(), FERRY_UNSUPPORTED);
  return {"", targets.front(), "", machine_of(card, card->multiprocessors, card->shared_bytes), std::nullopt};
}

}  // namespace ferry::latency
