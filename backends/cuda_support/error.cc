#include "cuda_support/error.h"

#include <mutex>
#include <utility>

#include "cuda_support/driver.h"

namespace ferry::cuda {
namespace {

std::mutex swallowed_mutex;
std::string swallowed;

}  // namespace

std::string describe(int code) {
  const char *name = nullptr, *text = nullptr;
  if (const Driver* api = driver_if_loaded()) {
    api->cuGetErrorName(static_cast<CUresult>(code), &name);
    api->cuGetErrorString(static_cast<CUresult>(code), &text);
  }
  return (name != nullptr ? std::string(name) : "CUDA error") + " (" + std::to_string(code) + ")" +
         (text != nullptr ? std::string(": ") + text : "");
}

Error::Error(const char* call, int code, const std::string& detail)
    : std::runtime_error(std::string(call) + (detail.empty() ? "" : " (" + detail + ")") +
                         " failed: " + describe(code)),
      call_(call),
      code_(code) {}

bool Error::out_of_memory() const noexcept { return code_ == CUDA_ERROR_OUT_OF_MEMORY; }

bool Error::sticky() const noexcept {
  switch (code_) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
      return true;
    default:
      return false;
  }
}

void check(int code, const char* call, const std::string& detail) {
  if (code != CUDA_SUCCESS) throw Error(call, code, detail);
}

void check_in_destructor(int code, const char* call) noexcept {
  // A driver that is shutting down at process exit has freed everything already.
  if (code == CUDA_SUCCESS || code == CUDA_ERROR_DEINITIALIZED) return;
  try {
    const std::lock_guard lock(swallowed_mutex);
    swallowed = std::string(call) + " failed: " + describe(code);
  } catch (...) {  // no memory for the text: the failure itself is already lost to the caller
  }
}

std::string take_swallowed_error() {
  const std::lock_guard lock(swallowed_mutex);
  return std::exchange(swallowed, {});
}

}  // namespace ferry::cuda
