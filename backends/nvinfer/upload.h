// From a caller's ordinary memory to the device: piece by piece through pinned memory, so that the copy on the host and
// the one over the bus overlap. Copies are shared with helper threads, because one core copies far slower than the bus
// takes. A request allocates nothing and takes no lock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "cuda_support/stream.h"

namespace ferry::nvinfer {

class Uploader {
 public:
  /// `threads` take part in a large copy, the caller's included; 0: half of the cores, at most 8. Helpers are started
  /// when they are first of use and sleep between two large copies. With `eager`, up to seven of them stay awake for
  /// three milliseconds (of all sessions together, less than half of the cores): waking them takes longer than they
  /// save on a picture, unless the next request comes soon.
  explicit Uploader(int threads, bool eager = true);
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;
  ~Uploader();

  /// Copies `size` bytes to `staged` (pinned), and enqueues their copy to `device`. When it returns, or throws
  /// cuda::Error, `from` is not read any more. `from == staged`: only the copy to the device. One caller at a time.
  void upload(void* device, void* staged, const void* from, std::size_t size, const cuda::Stream& stream);
  /// Where the device is told what has been copied: one flag for each `bytes` of it.
  struct Chunks {
    std::atomic<std::uint32_t>* ready;
    std::size_t bytes;
  };
  /// Copies `size` bytes to `staged` and raises each chunk's flag when it is there. `meanwhile` is called at the
  /// beginning, while those who are awake copy; the caller's thread copies after it. Throws what it throws. Afterwards
  /// `from` is not read any more.
  void share(void* staged, const void* from, std::size_t size, const Chunks& chunks,
             const std::function<void()>& meanwhile);
  /// While the device is busy: wakes helpers for the next request, if requests follow each other closely.
  void expect_another();

 private:
  using Clock = std::chrono::steady_clock;
  class Closer;
  std::uint32_t open_job(const std::byte* from, std::byte* to, std::size_t size, std::size_t chunk,
                         std::atomic<std::uint32_t>* ready);
  void together(void* device, const cuda::Stream& stream);
  void start_helpers();
  void help(bool stays_awake);
  void await_signal(std::uint32_t seen, bool stays_awake);
  bool copy_one(std::uint32_t generation);
  void wait_for(std::size_t chunk, std::uint32_t generation) const noexcept;

  const int threads_;
  const bool eager_;
  std::vector<std::thread> helpers_;
  std::atomic<int> awake_{0};  // helpers that would see a job at once
  Clock::time_point last_small_{};
  bool small_ = false;  // the last copy was one that only helpers that are awake could share
  // The job that is open. `ticket_` is its generation and its next chunk: a helper that comes late fails to take a
  // chunk, because the generation is another. The fields are atomic because it may read them before it knows.
  std::atomic<std::uint64_t> ticket_;
  std::atomic<std::uint32_t> signal_{0};
  std::atomic<bool> stop_{false};
  std::atomic<const std::byte*> from_{nullptr};
  std::atomic<std::byte*> to_{nullptr};
  std::atomic<std::size_t> size_{0}, chunk_{1};
  std::atomic<std::atomic<std::uint32_t>*> ready_{nullptr};  // a flag for each chunk, or none
  std::unique_ptr<std::atomic<std::uint32_t>[]> done_;       // the generation that copied the chunk last
  std::size_t capacity_ = 0;
};

}  // namespace ferry::nvinfer
