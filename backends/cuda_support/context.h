// The device's primary context: the one that the CUDA runtime, TensorRT and PyTorch use too.
#pragma once

#include <cstddef>
#include <utility>

struct CUctx_st;

namespace ferry::cuda {

/// Holds the primary context of a device. Move-only; anything made in it must be destroyed first.
class Context {
 public:
  explicit Context(int device_index);
  Context(Context&& other) noexcept
      : device_(std::exchange(other.device_, -1)), handle_(std::exchange(other.handle_, nullptr)) {}
  Context& operator=(Context&&) = delete;
  ~Context();

  CUctx_st* handle() const noexcept { return handle_; }

 private:
  int device_ = -1;
  CUctx_st* handle_ = nullptr;
};

/// Makes a context current on this thread for a scope, and leaves the thread as it was. All other calls of this folder,
/// and TensorRT's, work on the current context.
class Current {
 public:
  explicit Current(const Context& context) : Current(context.handle()) {}
  explicit Current(CUctx_st* context);
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
  ~Current();
};

struct MemoryInfo {
  std::size_t free = 0, total = 0;
};
/// Of the device of the current context.
MemoryInfo memory_info();

}  // namespace ferry::cuda
