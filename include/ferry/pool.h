// Requests from any thread, answered by several sessions of one engine: the asynchronous way in.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <future>
#include <memory>

#include "ferry/backend.h"

namespace ferry {

/// What became of a request: an output, or why there is none.
struct Answer {
  Tensor output;               // [n, ...]; empty with a failure
  RunTimes times{};            // NaN where the engine cannot tell
  std::exception_ptr failure;  // an Error; null if it went well
};

struct PoolOptions {
  int sessions = 2;          // at once; each holds activation memory. Two hide copies behind compute (see load.h)
  std::size_t waiting = 64;  // at most; who submits beyond that waits
};

/// Thread-safe. Requests are begun in the order in which they were submitted and may end in another. A request that
/// fails (a wrong shape, a lost device) fails alone. For engines with one input and one output.
class Pool {
 public:
  /// Called once for each request, in a thread of the pool. It must not throw, must not wait for this pool, and should
  /// be short: its session idles meanwhile. It may submit, if it can afford to wait for room.
  using Done = std::function<void(Answer)>;

  /// Opens the sessions. Throws Error.
  explicit Pool(const Engine& engine, const PoolOptions& options = {});
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  /// Answers everything that was submitted, then ends.
  ~Pool();

  /// Takes `input` over. Returns as soon as there is room for it.
  void submit(Tensor input, Done done);
  /// The same with a future, which throws the request's Error.
  std::future<Tensor> submit(Tensor input);
  /// For memory of the caller's that stays valid and unchanged until `done` is called: nothing is copied in between.
  void submit_view(const TensorView& input, Done done);

  /// Until everything submitted before this call was answered.
  void wait();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ferry
