#include "ferry/layers.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ferry {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

double milliseconds(double amount, double per_second) {
  return per_second > 0 && amount >= 0 ? 1000 * amount / per_second : kUnknown;
}

}  // namespace

double LayerProfile::total_ms() const {
  double sum = 0;
  for (const LayerTime& layer : layers) sum += layer.ms;
  return sum;
}

double LayerProfile::floor_ms() const {
  double sum = 0;
  for (const LayerTime& layer : layers)
    if (layer.floor_ms >= 0) sum += layer.floor_ms;
  return sum;
}

void set_floors(LayerProfile& profile) {
  for (LayerTime& layer : profile.layers) {
    const auto peak = profile.flops_per_second.find(layer.precision);
    const double compute = milliseconds(layer.flops, peak == profile.flops_per_second.end() ? kUnknown : peak->second);
    const double memory = milliseconds(layer.bytes, profile.bytes_per_second);
    layer.floor_ms = std::fmax(compute, memory);  // of a number and NaN: the number
  }
}

}  // namespace ferry
