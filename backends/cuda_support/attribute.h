// One number about a device.
#pragma once

#include "cuda_support/driver.h"
#include "cuda_support/error.h"

namespace ferry::cuda {

inline int attribute(CUdevice device, CUdevice_attribute which) {
  int value = 0;
  check(driver().cuDeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
  return value;
}

}  // namespace ferry::cuda
