// A CUDA driver over host memory. Streams run at once, captures record closures, a fake clock gives exact times.
#include "fake_cuda.h"

#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

struct CUctx_st {
  int device = 0;
};
struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};
struct CUstream_st {
  bool capturing = false, invalidated = false;
  CUgraph_st* graph = nullptr;
};
struct CUevent_st {
  double at_ms = -1;
};

namespace {

constexpr std::size_t kDeviceMemory = std::size_t{8} << 30;

struct Failure {
  int code, after;
};

struct State {
  std::recursive_mutex mutex;
  std::map<std::string, Failure> failures;
  std::map<std::string, int> calls;
  std::map<CUdeviceptr, std::size_t> allocations;
  std::set<const void*> live;
  CUctx_st context;
  int context_holders = 0;
  std::uint64_t device_bytes = 0;
  double clock_ms = 0;
};

State& state() {
  static State* instance = new State;
  return *instance;
}

thread_local std::vector<CUcontext> context_stack;

// Counts the call and says whether a planned failure is due.
CUresult enter(const char* function) {
  const std::lock_guard lock(state().mutex);
  ++state().calls[function];
  const auto planned = state().failures.find(function);
  if (planned == state().failures.end()) return CUDA_SUCCESS;
  if (planned->second.after-- > 0) return CUDA_SUCCESS;
  const auto code = static_cast<CUresult>(planned->second.code);
  state().failures.erase(planned);
  return code;
}

CUresult enter_in_context(const char* function) {
  const CUresult code = enter(function);
  if (code != CUDA_SUCCESS) return code;
  return context_stack.empty() ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

template <typename Handle>
Handle* make() {
  auto* handle = new Handle;
  const std::lock_guard lock(state().mutex);
  state().live.insert(handle);
  return handle;
}

// Frees even when a failure is planned, as the driver does when it reports an earlier asynchronous one.
template <typename Handle>
CUresult destroy(Handle* handle, CUresult planned = CUDA_SUCCESS) {
  const std::lock_guard lock(state().mutex);
  if (state().live.erase(handle) == 0) return CUDA_ERROR_INVALID_HANDLE;
  delete handle;
  return planned;
}

CUresult run(CUstream stream, double cost_ms, std::function<void()> work) {
  auto timed = [cost_ms, work = std::move(work)] {
    work();
    const std::lock_guard lock(state().mutex);
    state().clock_ms += cost_ms;
  };
  if (stream->capturing) {
    stream->graph->work.push_back(std::move(timed));
  } else {
    timed();
  }
  return CUDA_SUCCESS;
}

bool inside_allocation(CUdeviceptr address, std::size_t size) {
  const std::lock_guard lock(state().mutex);
  auto next = state().allocations.upper_bound(address);
  if (next == state().allocations.begin()) return false;
  const auto& [start, length] = *--next;
  return address + size <= start + length;
}

}  // namespace

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

int fake_cuda_enqueue(void* stream, void (*work)(void*), void* user) {
  return run(static_cast<CUstream>(stream), 2, [work, user] { work(user); });
}

int fake_cuda_forbidden_in_capture(void* stream) {
  auto* target = static_cast<CUstream>(stream);
  if (target->capturing) target->invalidated = true;
  return target->capturing ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

#define FAKE FAKE_CUDA_EXPORT CUresult CUDAAPI
#define ENTER(name) \
  if (const CUresult planned = enter(name); planned != CUDA_SUCCESS) return planned
#define ENTER_IN_CONTEXT(name) \
  if (const CUresult planned = enter_in_context(name); planned != CUDA_SUCCESS) return planned

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
  *value = which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 8 : 9;
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

FAKE cuStreamCreate(CUstream* stream, unsigned) {
  ENTER_IN_CONTEXT("cuStreamCreate");
  *stream = make<CUstream_st>();
  return CUDA_SUCCESS;
}
FAKE cuStreamDestroy_v2(CUstream stream) { return destroy(stream, enter("cuStreamDestroy_v2")); }
FAKE cuStreamSynchronize(CUstream stream) {
  ENTER_IN_CONTEXT("cuStreamSynchronize");
  return stream->capturing ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}
FAKE cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode) {
  ENTER_IN_CONTEXT("cuStreamBeginCapture_v2");
  if (stream->capturing) return CUDA_ERROR_ILLEGAL_STATE;
  stream->capturing = true;
  stream->invalidated = false;
  stream->graph = make<CUgraph_st>();
  return CUDA_SUCCESS;
}
FAKE cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  CUresult code = enter_in_context("cuStreamEndCapture");
  *graph = nullptr;
  if (!stream->capturing) return CUDA_ERROR_ILLEGAL_STATE;
  stream->capturing = false;
  if (stream->invalidated) code = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (code != CUDA_SUCCESS) {
    destroy(std::exchange(stream->graph, nullptr));
    return code;
  }
  *graph = std::exchange(stream->graph, nullptr);
  return CUDA_SUCCESS;
}

FAKE cuEventCreate(CUevent* event, unsigned) {
  ENTER_IN_CONTEXT("cuEventCreate");
  *event = make<CUevent_st>();
  return CUDA_SUCCESS;
}
FAKE cuEventDestroy_v2(CUevent event) { return destroy(event, enter("cuEventDestroy_v2")); }
FAKE cuEventRecord(CUevent event, CUstream stream) {
  ENTER_IN_CONTEXT("cuEventRecord");
  return run(stream, 0, [event] { event->at_ms = state().clock_ms; });
}
FAKE cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned) {
  ENTER_IN_CONTEXT("cuEventRecordWithFlags");
  return run(stream, 0, [event] { event->at_ms = state().clock_ms; });
}
FAKE cuEventElapsedTime(float* milliseconds, CUevent start, CUevent stop) {
  ENTER_IN_CONTEXT("cuEventElapsedTime");
  if (start->at_ms < 0 || stop->at_ms < 0) return CUDA_ERROR_INVALID_HANDLE;
  *milliseconds = static_cast<float>(stop->at_ms - start->at_ms);
  return CUDA_SUCCESS;
}

FAKE cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph, unsigned long long) {
  ENTER_IN_CONTEXT("cuGraphInstantiateWithFlags");
  *executable = make<CUgraphExec_st>();
  (*executable)->work = graph->work;
  return CUDA_SUCCESS;
}
FAKE cuGraphUpload(CUgraphExec, CUstream) {
  ENTER_IN_CONTEXT("cuGraphUpload");
  return CUDA_SUCCESS;
}
FAKE cuGraphLaunch(CUgraphExec executable, CUstream) {
  ENTER_IN_CONTEXT("cuGraphLaunch");
  for (const auto& work : executable->work) work();
  return CUDA_SUCCESS;
}
FAKE cuGraphExecDestroy(CUgraphExec executable) { return destroy(executable, enter("cuGraphExecDestroy")); }
FAKE cuGraphDestroy(CUgraph graph) { return destroy(graph, enter("cuGraphDestroy")); }
