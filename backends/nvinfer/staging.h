// The pinned host memory of a session: one buffer a port, big enough for the largest batch so far.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda_support/memory.h"
#include "nvinfer/network.h"

namespace ferry::nvinfer {

class Staging {
 public:
  Staging(const std::vector<Port>& inputs, const std::vector<Port>& outputs) : inputs_(inputs), outputs_(outputs) {}

  enum class Asked { kByCaller, kInternally };
  /// Makes room for `batch`. Returns whether buffers moved: what was captured with them is void then. Pointers that the
  /// caller got stay readable and writable until the caller asks for more itself. Throws cuda::Error.
  bool reserve(std::int64_t batch, Asked asked);
  /// Whether `reserve` would move anything.
  bool holds(std::int64_t batch) const noexcept { return batch <= batch_; }

  void* input(std::size_t port) const noexcept { return in_[port].data(); }
  void* output(std::size_t port) const noexcept { return out_[port].data(); }

 private:
  const std::vector<Port>& inputs_;
  const std::vector<Port>& outputs_;
  std::int64_t batch_ = 0;
  std::vector<cuda::PinnedBuffer> in_, out_, retired_;
};

}  // namespace ferry::nvinfer
