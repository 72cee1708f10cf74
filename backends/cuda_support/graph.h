// CUDA graphs: work recorded once from a stream and launched with one call.
#pragma once

#include <functional>
#include <utility>

#include "cuda_support/stream.h"

struct CUgraph_st;
struct CUgraphExec_st;

namespace ferry::cuda {

/// An executable graph. Move-only. What it was captured with (buffers, contexts, events) must outlive it, at the same
/// addresses.
class GraphExec {
 public:
  GraphExec() = default;
  GraphExec(GraphExec&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  GraphExec& operator=(GraphExec&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~GraphExec();

  /// Runs `enqueue` while `stream` is captured, and makes what it enqueued executable. Other threads may go on using
  /// CUDA meanwhile. If `enqueue` throws or the driver refuses, the capture is ended, the stream is usable again, and
  /// the error is thrown on.
  static GraphExec capture(const Stream& stream, const std::function<void()>& enqueue);

  explicit operator bool() const noexcept { return handle_ != nullptr; }
  void launch(const Stream& stream) const;

 private:
  CUgraphExec_st* handle_ = nullptr;
};

}  // namespace ferry::cuda
