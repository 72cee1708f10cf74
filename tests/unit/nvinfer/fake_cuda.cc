// A CUDA driver over host memory, first part: devices, contexts, memory. Streams run at once, captures record closures,
// a fake clock gives exact times.
#include "fake_cuda.h"

#include "fake_cuda_state.h"

void fake_cuda_fail(const char* function, int code, int after) {
  const std::lock_guard lock(state().mutex);
  state().failures[function] = {code, after};
}

void fake_cuda_reset() {
  const std::lock_guard lock(state().mutex);
  state().failures.clear();
  state().calls.clear();
}

int fake_cuda_calls(const char* function) {
  const std::lock_guard lock(state().mutex);
  return state().calls[function];
}

int fake_cuda_live() {
  const std::lock_guard lock(state().mutex);
  return static_cast<int>(state().live.size()) + state().context_holders;
}

std::uint64_t fake_cuda_device_bytes() {
  const std::lock_guard lock(state().mutex);
  return state().device_bytes;
}

FAKE cuInit(unsigned) {
  ENTER("cuInit");
  const char* code = std::getenv("FAKE_CUDA_INIT");
  return code == nullptr ? CUDA_SUCCESS : static_cast<CUresult>(std::atoi(code));
}
FAKE cuDriverGetVersion(int* version) {
  ENTER("cuDriverGetVersion");
  *version = 13010;
  return CUDA_SUCCESS;
}
FAKE cuGetErrorName(CUresult code, const char** name) {
  *name = code == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
  return CUDA_SUCCESS;
}
FAKE cuGetErrorString(CUresult code, const char** text) {
  *text = code == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "planned by a test";
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetCount(int* count) {
  ENTER("cuDeviceGetCount");
  *count = 1;
  return CUDA_SUCCESS;
}
FAKE cuDeviceGet(CUdevice* device, int index) {
  ENTER("cuDeviceGet");
  *device = index;
  return index == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
FAKE cuDeviceGetName(char* name, int size, CUdevice) {
  ENTER("cuDeviceGetName");
  std::strncpy(name, "Fake GPU", static_cast<std::size_t>(size));
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetAttribute(int* value, CUdevice_attribute which, CUdevice) {
  ENTER("cuDeviceGetAttribute");
  static const std::map<int, int> values{{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 8},
                                         {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 9},
                                         {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 24},
                                         {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 2'535'000},
                                         {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 8'501'000},
                                         {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 128},
                                         {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 99 << 10},
                                         {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 24 << 20}};
  *value = values.at(which);
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice) {
  ENTER("cuDeviceGetUuid_v2");
  for (int i = 0; i < 16; ++i) uuid->bytes[i] = static_cast<char>(0xF0 + i);
  return CUDA_SUCCESS;
}
FAKE cuDeviceTotalMem_v2(size_t* bytes, CUdevice) {
  ENTER("cuDeviceTotalMem_v2");
  *bytes = kDeviceMemory;
  return CUDA_SUCCESS;
}

FAKE cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  ENTER("cuDevicePrimaryCtxRetain");
  const std::lock_guard lock(state().mutex);
  ++state().context_holders;
  *context = &state().context;
  return CUDA_SUCCESS;
}
FAKE cuDevicePrimaryCtxRelease_v2(CUdevice) {
  ENTER("cuDevicePrimaryCtxRelease_v2");
  const std::lock_guard lock(state().mutex);
  --state().context_holders;
  return CUDA_SUCCESS;
}
FAKE cuCtxGetCurrent(CUcontext* context) {
  ENTER("cuCtxGetCurrent");
  *context = context_stack.empty() ? nullptr : context_stack.back();
  return CUDA_SUCCESS;
}
FAKE cuCtxPushCurrent_v2(CUcontext context) {
  ENTER("cuCtxPushCurrent_v2");
  context_stack.push_back(context);
  return CUDA_SUCCESS;
}
FAKE cuCtxPopCurrent_v2(CUcontext* context) {
  ENTER("cuCtxPopCurrent_v2");
  if (context_stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  *context = context_stack.back();
  context_stack.pop_back();
  return CUDA_SUCCESS;
}

FAKE cuMemGetInfo_v2(size_t* free, size_t* total) {
  ENTER_IN_CONTEXT("cuMemGetInfo_v2");
  *total = kDeviceMemory;
  *free = kDeviceMemory - fake_cuda_device_bytes();
  return CUDA_SUCCESS;
}
FAKE cuMemAlloc_v2(CUdeviceptr* address, size_t size) {
  ENTER_IN_CONTEXT("cuMemAlloc_v2");
  const std::lock_guard lock(state().mutex);
  if (state().device_bytes + size > kDeviceMemory) return CUDA_ERROR_OUT_OF_MEMORY;
  void* memory = std::malloc(size);
  std::memset(memory, 0xFF, size);  // what was never written is NaN
  *address = reinterpret_cast<CUdeviceptr>(memory);
  state().allocations[*address] = size;
  state().device_bytes += size;
  state().live.insert(memory);
  return CUDA_SUCCESS;
}
FAKE cuMemFree_v2(CUdeviceptr address) {
  const CUresult planned = enter_in_context("cuMemFree_v2");
  if (planned == CUDA_ERROR_INVALID_CONTEXT) return planned;
  const std::lock_guard lock(state().mutex);
  const auto found = state().allocations.find(address);
  if (found == state().allocations.end()) return CUDA_ERROR_INVALID_VALUE;
  state().device_bytes -= found->second;
  state().allocations.erase(found);
  state().live.erase(reinterpret_cast<void*>(address));
  std::free(reinterpret_cast<void*>(address));
  return planned;
}
FAKE cuMemHostAlloc(void** address, size_t size, unsigned) {
  ENTER_IN_CONTEXT("cuMemHostAlloc");
  *address = std::malloc(size);
  std::memset(*address, 0xFF, size);
  const std::lock_guard lock(state().mutex);
  state().live.insert(*address);
  return CUDA_SUCCESS;
}
FAKE cuMemFreeHost(void* address) {
  const CUresult planned = enter_in_context("cuMemFreeHost");
  if (planned == CUDA_ERROR_INVALID_CONTEXT) return planned;
  const std::lock_guard lock(state().mutex);
  if (state().live.erase(address) == 0) return CUDA_ERROR_INVALID_VALUE;
  std::free(address);
  return planned;
}
FAKE cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t size, CUstream stream) {
  ENTER_IN_CONTEXT("cuMemcpyHtoDAsync_v2");
  if (!inside_allocation(to, size)) return CUDA_ERROR_INVALID_VALUE;
  return run(stream, 1, [=] { std::memcpy(reinterpret_cast<void*>(to), from, size); });
}
FAKE cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t size, CUstream stream) {
  ENTER_IN_CONTEXT("cuMemcpyDtoHAsync_v2");
  if (!inside_allocation(from, size)) return CUDA_ERROR_INVALID_VALUE;
  return run(stream, 4, [=] { std::memcpy(to, reinterpret_cast<const void*>(from), size); });
}
FAKE cuMemsetD8Async(CUdeviceptr address, unsigned char byte, size_t size, CUstream stream) {
  ENTER_IN_CONTEXT("cuMemsetD8Async");
  if (!inside_allocation(address, size)) return CUDA_ERROR_INVALID_VALUE;
  return run(stream, 0, [=] { std::memset(reinterpret_cast<void*>(address), byte, size); });
}
