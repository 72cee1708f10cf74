#include "cuda_support/driver.h"

#include <cstdlib>
#include <type_traits>

#include "cuda_support/error.h"
#include "cuda_support/shared_library.h"

namespace ferry::cuda {
namespace {

struct Loaded {
  Driver table;
  bool usable = false;
  std::string reason, remedy;
};

std::string remedy_for(int code) {
  switch (code) {
    case CUDA_ERROR_NO_DEVICE:
      return "check that nvidia-smi lists a GPU and that CUDA_VISIBLE_DEVICES does not hide it";
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
      return "kernel module and libcuda.so.1 are of different driver versions: reboot after a driver update, and take "
             "CUDA's 'compat' folder out of LD_LIBRARY_PATH";
    default:
      return "run nvidia-smi; if it fails too, reinstall the NVIDIA driver or reboot";
  }
}

Loaded load() {
  Loaded loaded;
  const char* named = std::getenv("FERRY_CUDA_DRIVER");
  loaded.reason = load_driver(named != nullptr && *named != '\0' ? named : "libcuda.so.1", loaded.table);
  if (!loaded.reason.empty()) {
    loaded.remedy = "install the NVIDIA driver of your distribution (it brings libcuda.so.1), then reboot";
    return loaded;
  }
  const CUresult code = loaded.table.cuInit(0);
  loaded.usable = code == CUDA_SUCCESS;
  if (!loaded.usable) {
    const char *name = nullptr, *text = nullptr;
    loaded.table.cuGetErrorName(code, &name);
    loaded.table.cuGetErrorString(code, &text);
    loaded.reason = std::string("the CUDA driver does not start: ") + (name != nullptr ? name : "unknown error") +
                    " (" + std::to_string(code) + ")" + (text != nullptr ? std::string(": ") + text : "");
    loaded.remedy = remedy_for(code);
  }
  return loaded;
}

const Loaded& loaded_once() {
  static const Loaded loaded = load();
  return loaded;
}

}  // namespace

std::string load_driver(const std::string& path, Driver& driver) {
  const SharedLibrary library = SharedLibrary::open(path);
  if (!library.is_open()) return "no NVIDIA driver (" + library.error() + ")";
#define FERRY_FIND(name)                                                        \
  driver.name = reinterpret_cast<decltype(driver.name)>(library.symbol(#name)); \
  if (driver.name == nullptr) return "the NVIDIA driver is too old: " + path + " lacks " #name " (CUDA 11.4 has it)";
  FERRY_CUDA_FUNCTIONS(FERRY_FIND)
#undef FERRY_FIND
  const auto optional = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(library.symbol(name));
  };
  optional(driver.cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled");
  optional(driver.cuLaunchKernelEx, "cuLaunchKernelEx");
  optional(driver.cuOccupancyMaxActiveClusters, "cuOccupancyMaxActiveClusters");
  return {};
}

const Driver& driver() {
  const Loaded& loaded = loaded_once();
  if (!loaded.usable) throw Unavailable(loaded.reason, loaded.remedy);
  return loaded.table;
}

const Driver* driver_if_loaded() noexcept {
  const Loaded& loaded = loaded_once();
  return loaded.usable ? &loaded.table : nullptr;
}

}  // namespace ferry::cuda
