// Control of the fake CUDA driver (fake_cuda.cc): what tests do to it and ask it. The driver itself is a library with
// the real driver's functions over host memory, so that code under test runs unchanged on a machine without a GPU.
#pragma once

#include <cstdint>

#define FAKE_CUDA_EXPORT extern "C" __attribute__((visibility("default")))

/// From the `after`-th following call on (0: the next), `function` fails with `code`, once. Names as in driver.h.
FAKE_CUDA_EXPORT void fake_cuda_fail(const char* function, int code, int after);
/// Forgets planned failures and call counts.
FAKE_CUDA_EXPORT void fake_cuda_reset();
/// Calls of `function` since the last reset.
FAKE_CUDA_EXPORT int fake_cuda_calls(const char* function);
/// Handles and allocations that exist now: each must be given back.
FAKE_CUDA_EXPORT int fake_cuda_live();
/// Bytes of device memory in use.
FAKE_CUDA_EXPORT std::uint64_t fake_cuda_device_bytes();
/// Work on a stream, like a kernel: runs now, or at each launch of the graph that is being captured. Takes 2 ms of the
/// fake device's clock (a copy to the device takes 1 ms, to the host 4 ms, launching a graph 0).
FAKE_CUDA_EXPORT int fake_cuda_enqueue(void* stream, void (*work)(void*), void* user);
/// Makes `stream` refuse capture from now on: an operation inside invalidates it.
FAKE_CUDA_EXPORT int fake_cuda_forbidden_in_capture(void* stream);
/// From now on the work of a launched graph runs beside the caller, until the stream is waited for or used again.
FAKE_CUDA_EXPORT void fake_cuda_asynchronous(int on);
/// What a kernel does when it is launched (now, or at each launch of a graph): takes 2 ms. `arguments` point to its
/// parameters. Any name is found in a module; one that was given nothing to do does nothing. The library
/// $FAKE_CUDA_KERNELS may bring its own: its `fake_cuda_kernels` is called with this function.
FAKE_CUDA_EXPORT void fake_cuda_kernel(const char* name, void (*work)(void** arguments, void* user), void* user);
