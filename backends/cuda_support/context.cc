#include "cuda_support/context.h"

#include "cuda_support/driver.h"
#include "cuda_support/error.h"

namespace ferry::cuda {

Context::Context(int device_index) {
  CUdevice device = 0;
  check(driver().cuDeviceGet(&device, device_index), "cuDeviceGet", "device " + std::to_string(device_index));
  check(driver().cuDevicePrimaryCtxRetain(&handle_, device), "cuDevicePrimaryCtxRetain",
        "device " + std::to_string(device_index));
  device_ = device;
}

Context::~Context() {
  if (handle_ == nullptr) return;
  check_in_destructor(driver_if_loaded()->cuDevicePrimaryCtxRelease_v2(device_), "cuDevicePrimaryCtxRelease");
}

Current::Current(CUctx_st* context) { check(driver().cuCtxPushCurrent_v2(context), "cuCtxPushCurrent"); }

Current::~Current() {
  CUcontext popped = nullptr;
  check_in_destructor(driver_if_loaded()->cuCtxPopCurrent_v2(&popped), "cuCtxPopCurrent");
}

MemoryInfo memory_info() {
  MemoryInfo info;
  check(driver().cuMemGetInfo_v2(&info.free, &info.total), "cuMemGetInfo");
  return info;
}

}  // namespace ferry::cuda
