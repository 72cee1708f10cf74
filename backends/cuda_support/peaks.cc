#include "cuda_support/peaks.h"

#include <exception>

#include "cuda_support/attribute.h"
#include "cuda_support/driver.h"
#include "cuda_support/error.h"

namespace ferry::cuda {
namespace {

Peaks of_device(CUdevice device) {
  const int major = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  const int minor = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  const double hertz = 1e3 * attribute(device, CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
  const double clocks = hertz * attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  const double memory_hertz = 1e3 * attribute(device, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
  const double bus_bytes = attribute(device, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH) / 8.0;
  Peaks peaks;
  const PerClock each = per_clock(major, minor);
  if (each.half > 0 && clocks > 0) {
    peaks.flops_per_second = {{"Float", clocks * each.single},
                              {"Half", clocks * each.half},
                              {"BFloat16", clocks * each.half},
                              {"Int8", clocks * each.int8}};
  }
  if (memory_hertz > 0 && bus_bytes > 0)
    peaks.bytes_per_second = 2 * memory_hertz * bus_bytes;  // two transfers a clock
  return peaks;
}

}  // namespace

// From NVIDIA's architecture papers: dense tensor cores for half and int8, plain cores for single. GeForce cards of
// 8.6, 8.9 and 12.0 accumulate in FP32 at half the rate of FP16 accumulation; the rate with FP32 is given.
PerClock per_clock(int major, int minor) noexcept {
  switch (major * 10 + minor) {
    case 75:
      return {128, 1024, 2048};
    case 80:
      return {128, 2048, 4096};
    case 86:
    case 89:
    case 120:
      return {256, 512, 2048};
    case 90:
      return {256, 4096, 8192};
    case 100:
      return {256, 8192, 16384};
    default:
      return {};
  }
}

Peaks peaks(int device_index) noexcept {
  try {
    CUdevice device = 0;
    check(driver().cuDeviceGet(&device, device_index), "cuDeviceGet");
    return of_device(device);
  } catch (const std::exception&) {  // a floor that cannot be given is no failure of a measurement
    return {};
  }
}

}  // namespace ferry::cuda
