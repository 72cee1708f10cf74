#include "cuda_support/devices.h"

#include <array>
#include <fstream>
#include <regex>

#include "cuda_support/attribute.h"
#include "cuda_support/driver.h"
#include "cuda_support/error.h"
#include "cuda_support/nvml.h"

namespace ferry::cuda {
namespace {

std::string uuid_text(const CUuuid& uuid) {
  static const char* digits = "0123456789abcdef";
  std::string text = "GPU-";
  for (std::size_t i = 0; i < sizeof uuid.bytes; ++i) {
    const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

DeviceInfo describe_device(int index) {
  const Driver& api = driver();
  DeviceInfo info;
  info.index = index;
  CUdevice device = 0;
  check(api.cuDeviceGet(&device, index), "cuDeviceGet", "device " + std::to_string(index));
  std::array<char, 256> name{};
  check(api.cuDeviceGetName(name.data(), static_cast<int>(name.size()), device), "cuDeviceGetName");
  info.name = name.data();
  info.major = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  info.minor = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  info.multiprocessors = attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  info.shared_bytes = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  info.l2_bytes = attribute(device, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  std::size_t total = 0;
  check(api.cuDeviceTotalMem_v2(&total, device), "cuDeviceTotalMem");
  info.memory_bytes = static_cast<std::int64_t>(total);
  CUuuid uuid{};
  if (api.cuDeviceGetUuid_v2(&uuid, device) == CUDA_SUCCESS) info.uuid = uuid_text(uuid);
  return info;
}

std::string cuda_version() {
  int version = 0;
  check(driver().cuDriverGetVersion(&version), "cuDriverGetVersion");
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

DeviceList devices() {
  DeviceList list;
  try {
    int count = 0;
    check(driver().cuDeviceGetCount(&count), "cuDeviceGetCount");
    const std::string cuda = cuda_version(), version = driver_version();
    for (int index = 0; index < count; ++index) {
      DeviceInfo info = describe_device(index);
      info.cuda = cuda;
      info.driver = version;
      list.devices.push_back(std::move(info));
    }
    if (count == 0) {
      list.reason = "the NVIDIA driver lists no GPU";
      list.remedy = "check that nvidia-smi lists a GPU and that CUDA_VISIBLE_DEVICES does not hide it";
    }
  } catch (const Unavailable& unavailable) {
    list.reason = unavailable.what();
    list.remedy = unavailable.remedy();
  } catch (const Error& error) {
    list.devices.clear();
    list.reason = error.what();
    list.remedy = "run nvidia-smi; if it fails too, reinstall the NVIDIA driver or reboot";
  }
  return list;
}

std::string driver_version() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  // "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build ..."
  std::smatch match;
  if (std::getline(file, line) && std::regex_search(line, match, std::regex(R"(\s(\d+\.\d+(\.\d+)?)\s)"))) {
    return match[1];
  }
  return nvml_driver_version();
}

}  // namespace ferry::cuda
