// What NVML tells about a GPU while it works: clocks, temperature, power, memory, why it slowed down.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace ferry::cuda {

/// NaN where the card or the driver does not tell (a laptop without power metering, a container without NVML).
struct Telemetry {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  double sm_clock_mhz = kUnknown, memory_clock_mhz = kUnknown, temperature_c = kUnknown, power_w = kUnknown,
         memory_used_bytes = kUnknown, memory_total_bytes = kUnknown;
  std::uint64_t throttle_reasons = 0;  // NVML's bits; 0 also where unknown
};

/// One card, found by the UUID that `devices()` gives, so that it is the same card whatever CUDA_VISIBLE_DEVICES says.
class NvmlDevice {
 public:
  explicit NvmlDevice(const std::string& uuid);  // never throws for a missing NVML; `now` is all unknown then

  bool available() const noexcept { return handle_ != nullptr; }
  /// Thread-safe; some tens of microseconds.
  Telemetry now() const;

 private:
  void* handle_ = nullptr;
};

/// "580.159.04"; empty without NVML.
std::string nvml_driver_version();

}  // namespace ferry::cuda
