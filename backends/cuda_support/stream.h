// Streams and timing events. Move-only; made in the current context.
#pragma once

#include <utility>

struct CUstream_st;
struct CUevent_st;

namespace ferry::cuda {

class Stream {
 public:
  Stream();  // does not synchronise with the legacy default stream; throws Error
  Stream(Stream&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Stream();

  CUstream_st* handle() const noexcept { return handle_; }
  /// Waits for everything enqueued; throws Error with what went wrong on the device.
  void synchronize() const;

 private:
  CUstream_st* handle_ = nullptr;
};

class Event {
 public:
  enum class Wait { kSpinning, kBlocking };  // how `synchronize` waits; a blocking event takes no time
  Event() : Event(Wait::kSpinning) {}        // throws Error
  explicit Event(Wait wait);
  Event(Event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Event();

  void record(const Stream& stream) const;
  /// While `stream` is captured: becomes a node of the graph that records this event at every launch.
  void record_in_graph(const Stream& stream) const;
  /// Waits for the work before the last `record`; throws Error with what went wrong on the device.
  void synchronize() const;
  /// Milliseconds from `start` to `stop`; both must have completed. NaN if the driver cannot tell.
  static double elapsed_ms(const Event& start, const Event& stop);

 private:
  CUevent_st* handle_ = nullptr;
};

}  // namespace ferry::cuda
