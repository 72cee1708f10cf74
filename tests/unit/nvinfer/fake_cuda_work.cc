// The fake CUDA driver, second part: streams, events, graphs, kernels.
#include <dlfcn.h>

#include "fake_cuda.h"
#include "fake_cuda_state.h"

int fake_cuda_enqueue(void* stream, void (*work)(void*), void* user) {
  return run(static_cast<CUstream>(stream), 2, [work, user] { work(user); });
}

int fake_cuda_forbidden_in_capture(void* stream) {
  auto* target = static_cast<CUstream>(stream);
  if (target->capturing) target->invalidated = true;
  return target->capturing ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

void fake_cuda_asynchronous(int on) { state().asynchronous = on != 0; }

void fake_cuda_kernel(const char* name, void (*work)(void**, void*), void* user) {
  const std::lock_guard lock(state().mutex);
  state().kernels[name] = {work, user};
}

FAKE cuStreamCreate(CUstream* stream, unsigned) {
  ENTER_IN_CONTEXT("cuStreamCreate");
  *stream = make<CUstream_st>();
  return CUDA_SUCCESS;
}
FAKE cuStreamDestroy_v2(CUstream stream) {
  stream->join();
  return destroy(stream, enter("cuStreamDestroy_v2"));
}
FAKE cuStreamSynchronize(CUstream stream) {
  ENTER_IN_CONTEXT("cuStreamSynchronize");
  stream->join();
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
FAKE cuEventSynchronize(CUevent event) {
  ENTER_IN_CONTEXT("cuEventSynchronize");
  return event->at_ms < 0 ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
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
FAKE cuGraphLaunch(CUgraphExec executable, CUstream stream) {
  ENTER_IN_CONTEXT("cuGraphLaunch");
  stream->join();
  const auto all = [list = executable->work] {
    for (const auto& work : list) work();
  };
  if (state().asynchronous)
    stream->graph_work = std::thread(all);
  else
    all();
  return CUDA_SUCCESS;
}
FAKE cuGraphExecDestroy(CUgraphExec executable) { return destroy(executable, enter("cuGraphExecDestroy")); }
FAKE cuGraphDestroy(CUgraph graph) { return destroy(graph, enter("cuGraphDestroy")); }

// The real driver copies the parameters of a launch. It knows their sizes and this one does not, so those that a graph
// is captured with must stay where they are.
static bool load_kernels() {
  const char* path = std::getenv("FAKE_CUDA_KERNELS");
  if (path == nullptr) return true;
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  using Define = void (*)(decltype(&fake_cuda_kernel));
  const auto define = library == nullptr ? nullptr : reinterpret_cast<Define>(dlsym(library, "fake_cuda_kernels"));
  if (define != nullptr) define(fake_cuda_kernel);
  return define != nullptr;
}
FAKE cuModuleLoadData(CUmodule* module, const void*) {
  ENTER_IN_CONTEXT("cuModuleLoadData");
  static const bool loaded = load_kernels();
  if (!loaded) return CUDA_ERROR_FILE_NOT_FOUND;
  *module = make<CUmod_st>();
  return CUDA_SUCCESS;
}
FAKE cuModuleUnload(CUmodule module) { return destroy(module, enter("cuModuleUnload")); }
FAKE cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  ENTER_IN_CONTEXT("cuModuleGetFunction");
  const std::lock_guard lock(state().mutex);
  *function = &state().functions.try_emplace(name, CUfunc_st{name}).first->second;
  return CUDA_SUCCESS;
}
FAKE cuFuncSetAttribute(CUfunction function, CUfunction_attribute which, int value) {
  ENTER_IN_CONTEXT("cuFuncSetAttribute");
  if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value > 99 << 10) return CUDA_ERROR_INVALID_VALUE;
  function->shared_bytes = value;
  return CUDA_SUCCESS;
}
FAKE cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction, int, size_t) {
  ENTER_IN_CONTEXT("cuOccupancyMaxActiveBlocksPerMultiprocessor");
  *blocks = 1;
  return CUDA_SUCCESS;
}

static CUresult run_kernel(CUfunction function, unsigned shared, CUstream stream, void** arguments) {
  if (static_cast<int>(shared) > function->shared_bytes) return CUDA_ERROR_INVALID_VALUE;
  return run(stream, 2, [name = function->name, arguments] {
    const auto found = state().kernels.find(name);
    if (found != state().kernels.end()) found->second.first(arguments, found->second.second);
  });
}
FAKE cuLaunchKernel(CUfunction function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned shared,
                    CUstream stream, void** arguments, void**) {
  ENTER_IN_CONTEXT("cuLaunchKernel");
  return run_kernel(function, shared, stream, arguments);
}
FAKE cuLaunchCooperativeKernel(CUfunction function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                               unsigned shared, CUstream stream, void** arguments) {
  ENTER_IN_CONTEXT("cuLaunchCooperativeKernel");
  return run_kernel(function, shared, stream, arguments);
}
