// The CUDA driver's functions, found at run time. Only cuda_support's own sources include this.
#pragma once

// The header's own switch for "no renaming macros, declare every version": names below are then exactly the symbols.
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>

#include <string>

namespace ferry::cuda {

#define FERRY_CUDA_FUNCTIONS(X)   \
  X(cuInit)                       \
  X(cuDriverGetVersion)           \
  X(cuGetErrorName)               \
  X(cuGetErrorString)             \
  X(cuDeviceGetCount)             \
  X(cuDeviceGet)                  \
  X(cuDeviceGetName)              \
  X(cuDeviceGetAttribute)         \
  X(cuDeviceGetUuid_v2)           \
  X(cuDeviceTotalMem_v2)          \
  X(cuDevicePrimaryCtxRetain)     \
  X(cuDevicePrimaryCtxRelease_v2) \
  X(cuCtxGetCurrent)              \
  X(cuCtxPushCurrent_v2)          \
  X(cuCtxPopCurrent_v2)           \
  X(cuMemGetInfo_v2)              \
  X(cuMemAlloc_v2)                \
  X(cuMemFree_v2)                 \
  X(cuMemHostAlloc)               \
  X(cuMemFreeHost)                \
  X(cuMemcpyHtoDAsync_v2)         \
  X(cuMemcpyDtoHAsync_v2)         \
  X(cuMemsetD8Async)              \
  X(cuStreamCreate)               \
  X(cuStreamDestroy_v2)           \
  X(cuStreamSynchronize)          \
  X(cuStreamBeginCapture_v2)      \
  X(cuStreamEndCapture)           \
  X(cuEventCreate)                \
  X(cuEventDestroy_v2)            \
  X(cuEventRecord)                \
  X(cuEventRecordWithFlags)       \
  X(cuEventSynchronize)           \
  X(cuEventElapsedTime)           \
  X(cuGraphInstantiateWithFlags)  \
  X(cuGraphUpload)                \
  X(cuGraphLaunch)                \
  X(cuGraphExecDestroy)           \
  X(cuGraphDestroy)               \
  X(cuModuleLoadData)             \
  X(cuModuleUnload)               \
  X(cuModuleGetFunction)          \
  X(cuFuncSetAttribute)           \
  X(cuLaunchKernel)               \
  X(cuLaunchCooperativeKernel)    \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor)

struct Driver {
#define FERRY_DECLARE(name) decltype(&::name) name = nullptr;
  FERRY_CUDA_FUNCTIONS(FERRY_DECLARE)
#undef FERRY_DECLARE
  // Of CUDA 12; absent from older drivers.
  decltype(&::cuTensorMapEncodeTiled) cuTensorMapEncodeTiled = nullptr;
  decltype(&::cuLaunchKernelEx) cuLaunchKernelEx = nullptr;
  decltype(&::cuOccupancyMaxActiveClusters) cuOccupancyMaxActiveClusters = nullptr;
};

/// Fills `driver` from the library at `path`; on failure returns the reason (library missing, or which function it
/// lacks), else an empty string.
std::string load_driver(const std::string& path, Driver& driver);

/// The process's driver, loaded and initialised on first use from $FERRY_CUDA_DRIVER or libcuda.so.1. Throws
/// Unavailable with reason and remedy, each time, if there is none.
const Driver& driver();

/// The table for functions that must not throw; nullptr if there is no usable driver.
const Driver* driver_if_loaded() noexcept;

}  // namespace ferry::cuda
