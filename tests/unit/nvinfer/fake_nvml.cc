// The few functions of NVML that ferry uses, with fixed answers; power is "not supported", as on some laptops.
#include <cstring>

#include "fake_cuda.h"

namespace {
constexpr int kSuccess = 0, kNotSupported = 3, kNotFound = 6;
int card = 0;
struct Memory {
  unsigned long long total, free, used;
};
}  // namespace

FAKE_CUDA_EXPORT int nvmlInit_v2() { return kSuccess; }
FAKE_CUDA_EXPORT int nvmlSystemGetDriverVersion(char* text, unsigned size) {
  std::strncpy(text, "999.88.77", size);
  return kSuccess;
}
FAKE_CUDA_EXPORT int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  if (std::strcmp(uuid, "GPU-f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff") != 0) return kNotFound;
  *device = &card;
  return kSuccess;
}
FAKE_CUDA_EXPORT int nvmlDeviceGetClockInfo(void*, int which, unsigned* value) {
  *value = which == 1 ? 1800 : 9001;
  return kSuccess;
}
FAKE_CUDA_EXPORT int nvmlDeviceGetTemperature(void*, int, unsigned* value) {
  *value = 55;
  return kSuccess;
}
FAKE_CUDA_EXPORT int nvmlDeviceGetPowerUsage(void*, unsigned*) { return kNotSupported; }
FAKE_CUDA_EXPORT int nvmlDeviceGetMemoryInfo(void*, Memory* memory) {
  *memory = {8000, 6000, 2000};
  return kSuccess;
}
FAKE_CUDA_EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(void*, unsigned long long* bits) {
  *bits = 0x40;
  return kSuccess;
}
