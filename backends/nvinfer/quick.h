// Quick requests: a graph whose first kernel fetches the input from pinned memory while the host still fills that, and
// whose last one writes the outputs back and raises a flag. No copy engine, no event, no call of the driver between
// launching and seeing the answer. For requests so small that those calls are a good part of their time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "cuda_support/kernels.h"
#include "cuda_support/memory.h"
#include "cuda_support/stream.h"
#include "nvinfer/network.h"
#include "nvinfer/quick_job.h"
#include "nvinfer/staging.h"

namespace ferry::nvinfer {

/// Whether a request of this network and batch is one: a single small input, few and small outputs.
bool fits_quick(const std::vector<Port>& inputs, const std::vector<Port>& outputs, std::int64_t batch);
/// The bytes that are copied, and fetched, as one piece: at most kMostQuickChunks of them in `bytes`.
std::size_t quick_chunk(std::size_t bytes);

/// What a session needs for them. One request at a time.
class Quick {
 public:
  /// Null where the kernels were not compiled, or not for this GPU.
  static std::unique_ptr<Quick> make();

  /// Before a launch: nothing is there yet.
  void arm() noexcept;
  /// One flag for each chunk of the input: set when it is in the staging.
  std::atomic<std::uint32_t>* ready() noexcept {
    return reinterpret_cast<std::atomic<std::uint32_t>*>(control().ready);
  }
  /// Waits for the answer, and for `stream` if none comes. False: the device gave up waiting for the input, so what it
  /// answered is of no use. Throws Failure or cuda::Error.
  bool await(const cuda::Stream& stream) const;
  /// Of the last answer, on the device's clock, in milliseconds.
  struct Times {
    double fetch_ms, compute_ms, answer_ms;
  };
  Times times() const noexcept;

  /// A kernel's parameter as a launch takes it: a graph that was captured with one may need it where it is.
  template <typename Job>
  struct Held {
    Held() = default;
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    Job job{};
    void* arguments[1] = {&job};
  };
  /// Fill in what is this object's, and enqueue.
  void enqueue(Held<FetchJob>& fetch, const cuda::Stream& stream);
  void enqueue(Held<AnswerJob>& answer, const cuda::Stream& stream);

 private:
  explicit Quick(cuda::Kernels kernels);
  QuickControl& control() const noexcept { return *static_cast<QuickControl*>(control_.data()); }
  cuda::Kernels kernels_;
  cuda::PinnedBuffer control_{sizeof(QuickControl)};
  cuda::DeviceBuffer stamps_{sizeof(QuickStamps)};
};

}  // namespace ferry::nvinfer
