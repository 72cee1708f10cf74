#include "cuda_support/nvml.h"

#include <array>
#include <cstdlib>

#include "cuda_support/shared_library.h"

namespace ferry::cuda {
namespace {

// The few declarations of nvml.h that are needed (its header is not in the CUDA runtime's wheel). All are NVML's stable
// C interface.
using Device = void*;
constexpr int kSuccess = 0, kClockSm = 1, kClockMemory = 2, kTemperatureGpu = 0;
struct Memory {
  unsigned long long total, free, used;
};

struct Nvml {
  int (*init)() = nullptr;
  int (*driver_version)(char*, unsigned) = nullptr;
  int (*handle_by_uuid)(const char*, Device*) = nullptr;
  int (*clock)(Device, int, unsigned*) = nullptr;
  int (*temperature)(Device, int, unsigned*) = nullptr;
  int (*power)(Device, unsigned*) = nullptr;
  int (*throttle)(Device, unsigned long long*) = nullptr;
  int (*memory)(Device, Memory*) = nullptr;
  bool usable = false;
};

template <typename Function>
bool find(const SharedLibrary& library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(library.symbol(name));
  return function != nullptr;
}

Nvml load_nvml() {
  Nvml nvml;
  const char* named = std::getenv("FERRY_NVML");
  const SharedLibrary library = SharedLibrary::open(named != nullptr && *named != '\0' ? named : "libnvidia-ml.so.1");
  const bool found =
      find(library, "nvmlInit_v2", nvml.init) && find(library, "nvmlSystemGetDriverVersion", nvml.driver_version) &&
      find(library, "nvmlDeviceGetHandleByUUID", nvml.handle_by_uuid) &&
      find(library, "nvmlDeviceGetClockInfo", nvml.clock) &&
      find(library, "nvmlDeviceGetTemperature", nvml.temperature) &&
      find(library, "nvmlDeviceGetPowerUsage", nvml.power) && find(library, "nvmlDeviceGetMemoryInfo", nvml.memory);
  // Renamed in driver 535; the old name is still exported, but need not be for ever.
  if (!find(library, "nvmlDeviceGetCurrentClocksEventReasons", nvml.throttle)) {
    find(library, "nvmlDeviceGetCurrentClocksThrottleReasons", nvml.throttle);
  }
  nvml.usable = found && nvml.init() == kSuccess;
  return nvml;
}

const Nvml& nvml() {
  static const Nvml loaded = load_nvml();
  return loaded;
}

double or_unknown(int code, double value) { return code == kSuccess ? value : Telemetry::kUnknown; }

double clock_mhz(Device device, int which) {
  unsigned value = 0;
  const int code = nvml().clock(device, which, &value);
  return or_unknown(code, value);
}

double temperature_c(Device device) {
  unsigned value = 0;
  const int code = nvml().temperature(device, kTemperatureGpu, &value);
  return or_unknown(code, value);
}

double power_w(Device device) {
  unsigned milliwatts = 0;
  const int code = nvml().power(device, &milliwatts);
  return or_unknown(code, milliwatts / 1000.0);
}

}  // namespace

NvmlDevice::NvmlDevice(const std::string& uuid) {
  if (!nvml().usable) return;
  if (nvml().handle_by_uuid(uuid.c_str(), &handle_) == kSuccess) return;
  // A slice of a partitioned card has its UUID under another prefix.
  handle_ = nullptr;
  if (uuid.rfind("GPU-", 0) == 0) {
    const std::string slice = "MIG-" + uuid.substr(4);
    if (nvml().handle_by_uuid(slice.c_str(), &handle_) != kSuccess) handle_ = nullptr;
  }
}

Telemetry NvmlDevice::now() const {
  Telemetry now;
  if (!available()) return now;
  now.sm_clock_mhz = clock_mhz(handle_, kClockSm);
  now.memory_clock_mhz = clock_mhz(handle_, kClockMemory);
  now.temperature_c = temperature_c(handle_);
  now.power_w = power_w(handle_);
  Memory memory{};
  const int code = nvml().memory(handle_, &memory);
  now.memory_used_bytes = or_unknown(code, static_cast<double>(memory.used));
  now.memory_total_bytes = or_unknown(code, static_cast<double>(memory.total));
  unsigned long long reasons = 0;
  if (nvml().throttle != nullptr && nvml().throttle(handle_, &reasons) == kSuccess) now.throttle_reasons = reasons;
  return now;
}

std::string nvml_driver_version() {
  std::array<char, 96> version{};
  if (!nvml().usable || nvml().driver_version(version.data(), version.size()) != kSuccess) return {};
  return version.data();
}

}  // namespace ferry::cuda
