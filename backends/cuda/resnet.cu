// The one kernel of this module, as its own translation unit: see kernel.cuh.
#include "cuda/kernel.cuh"
