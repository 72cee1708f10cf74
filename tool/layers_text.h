// A layer profile as a table for people.
#pragma once

#include <string>

#include "ferry/layers.h"

namespace ferry::tool {

/// Layers in order of execution: time, share, FLOP, bytes, and how near to the floor of the device; then the sums.
std::string layers_table(const LayerProfile& profile);

}  // namespace ferry::tool
