// The kernel of backends/cuda on the CPU, in plain loops: reads the same tables, weights and addresses.
#pragma once

#include "cuda/phases.h"

namespace ferry::latency {

/// One phase of `net`, all images, on as many threads as there are cores.
void emulate(const Net& net, const Phase& phase, unsigned threads = 1);

}  // namespace ferry::latency
