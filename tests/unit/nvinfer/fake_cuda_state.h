// What the sources of the fake CUDA driver share: handles, memory, planned failures, the clock.
#pragma once

#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
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
  std::thread graph_work;  // of a graph that was launched with fake_cuda_asynchronous

  void join() {
    if (graph_work.joinable()) graph_work.join();
  }
};
struct CUevent_st {
  double at_ms = -1;
};
struct CUmod_st {};
struct CUfunc_st {
  std::string name;
  int shared_bytes = 48 << 10;
};

inline constexpr std::size_t kDeviceMemory = std::size_t{8} << 30;

struct Failure {
  int code, after;
};

struct State {
  std::recursive_mutex mutex;
  std::map<std::string, Failure> failures;
  std::map<std::string, int> calls;
  std::map<CUdeviceptr, std::size_t> allocations;
  std::set<const void*> live;
  std::map<std::string, std::pair<void (*)(void**, void*), void*>> kernels;
  std::map<std::string, CUfunc_st> functions;
  CUctx_st context;
  int context_holders = 0;
  std::uint64_t device_bytes = 0;
  double clock_ms = 0;
  bool asynchronous = false;
};

inline State& state() {
  static State* instance = new State;
  return *instance;
}

/// Of a thread. Without a destructor, because engines that static objects hold are closed after a thread's objects.
struct ContextStack {
  std::array<CUcontext, 64> contexts;
  std::size_t count;
  bool empty() const { return count == 0; }
  CUcontext back() const { return contexts[count - 1]; }
  void push_back(CUcontext context) { contexts.at(count++) = context; }
  void pop_back() { --count; }
};
inline thread_local ContextStack context_stack{};

// Counts the call and says whether a planned failure is due.
inline CUresult enter(const char* function) {
  const std::lock_guard lock(state().mutex);
  ++state().calls[function];
  const auto planned = state().failures.find(function);
  if (planned == state().failures.end()) return CUDA_SUCCESS;
  if (planned->second.after-- > 0) return CUDA_SUCCESS;
  const auto code = static_cast<CUresult>(planned->second.code);
  state().failures.erase(planned);
  return code;
}

inline CUresult enter_in_context(const char* function) {
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

inline CUresult run(CUstream stream, double cost_ms, std::function<void()> work) {
  auto timed = [cost_ms, work = std::move(work)] {
    work();
    const std::lock_guard lock(state().mutex);
    state().clock_ms += cost_ms;
  };
  if (stream->capturing) {
    stream->graph->work.push_back(std::move(timed));
  } else {
    stream->join();
    timed();
  }
  return CUDA_SUCCESS;
}

inline bool inside_allocation(CUdeviceptr address, std::size_t size) {
  const std::lock_guard lock(state().mutex);
  auto next = state().allocations.upper_bound(address);
  if (next == state().allocations.begin()) return false;
  const auto& [start, length] = *--next;
  return address + size <= start + length;
}

#define FAKE FAKE_CUDA_EXPORT CUresult CUDAAPI
#define ENTER(name) \
  if (const CUresult planned = enter(name); planned != CUDA_SUCCESS) return planned
#define ENTER_IN_CONTEXT(name) \
  if (const CUresult planned = enter_in_context(name); planned != CUDA_SUCCESS) return planned
