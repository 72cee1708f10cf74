// Threads take pictures from a source and fill a ring of batches; one thread consumes the batches in order.
//
// Picture n belongs to row n % batch of batch n / batch, which lies in buffer (n / batch) % buffers. A thread that
// takes a picture of a batch whose buffer is not free yet waits: memory and the lead over the consumer are bounded.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "ferry/pictures.h"

namespace ferry {

/// Puts one picture into a row of a buffer. What it throws makes this picture a broken one. Called on the thread that
/// made it.
using FillRow = std::function<void(Picture& picture, std::size_t buffer, std::size_t row)>;

struct FeederOptions {
  std::size_t batch = 8, buffers = 2;
  int threads = 0;  // 0: one for each processor
};

class BatchFeeder {
 public:
  struct Batch {
    std::size_t buffer = 0;
    std::vector<Picture> pictures;  // row r; `error` says why a row holds nothing. Never empty
  };

  /// Starts the threads. `make_fill` is called once on each.
  BatchFeeder(PictureSource& source, const FeederOptions& options, std::function<FillRow()> make_fill);
  BatchFeeder(const BatchFeeder&) = delete;
  BatchFeeder& operator=(const BatchFeeder&) = delete;
  ~BatchFeeder();

  /// Whether `next` would return at once.
  bool ready();
  /// The next batch, once it is filled; false at the end, or as soon as `stop` (asked now and then) says so. Throws
  /// what the source threw.
  bool next(Batch& into, const std::function<bool()>& stop = {});
  /// The oldest batch that was handed out has been used: its buffer may be filled again.
  void release();

 private:
  bool take(Picture& picture);
  void work(const std::function<FillRow()>& make_fill);
  void finish(Picture&& picture);
  void end_with(std::exception_ptr failure);
  bool is_ready() const;  // these four with `mutex_` held
  bool at_end() const;
  std::size_t size_of(std::size_t batch) const;
  bool has_room() const { return next_ / options_.batch < released_ + options_.buffers; }

  struct Slot {
    std::vector<Picture> pictures;
    std::size_t done = 0;
  };

  PictureSource& source_;
  FeederOptions options_;
  std::mutex source_mutex_, mutex_;
  std::condition_variable changed_;
  std::vector<Slot> ring_;
  std::size_t next_ = 0, handed_ = 0, released_ = 0;  // a picture; batches
  bool ended_ = false, stopped_ = false;
  std::exception_ptr failure_;
  std::vector<std::jthread> threads_;
};

}  // namespace ferry
