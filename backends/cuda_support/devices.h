// Which GPUs this machine has. Never throws for a machine that has none: that is an answer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ferry::cuda {

struct DeviceInfo {
  int index = 0;  // in CUDA's order, which CUDA_VISIBLE_DEVICES changes
  std::string name;
  int major = 0, minor = 0;  // compute capability
  std::int64_t memory_bytes = 0;
  int multiprocessors = 0;
  int shared_bytes = 0;  // that one block may have
  std::int64_t l2_bytes = 0;
  std::string uuid;    // "GPU-...", as nvidia-smi -L prints it: how NVML finds the same card
  std::string driver;  // "580.159.04"; empty if unknown
  std::string cuda;    // the newest CUDA that the driver runs, "13.0"

  std::string compute_capability() const { return std::to_string(major) + "." + std::to_string(minor); }
};

struct DeviceList {
  std::vector<DeviceInfo> devices;
  std::string reason, remedy;  // why there are none
};

DeviceList devices();

/// Of the kernel module, from /proc, else from NVML; empty without a driver.
std::string driver_version();

}  // namespace ferry::cuda
