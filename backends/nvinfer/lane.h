// What a session keeps for one batch size: an executor bound to it, device buffers, and the CUDA graphs captured from
// them. One executor a batch size, because a captured graph is valid only while its executor is left as it was.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "cuda_support/graph.h"
#include "cuda_support/memory.h"
#include "cuda_support/stream.h"
#include "nvinfer/network.h"
#include "nvinfer/quick.h"
#include "nvinfer/staging.h"
#include "nvinfer/upload.h"

namespace ferry::nvinfer {

/// The points of a request that are timed.
struct Marks {
  cuda::Event begin, uploaded, computed, end;
};

class Lane {
 public:
  explicit Lane(std::unique_ptr<Executor> executor) : executor_(std::move(executor)) {}

  /// Serves `batch` from now on; earlier graphs and inputs are gone. Buffers are kept where they are big enough.
  void bind(const Network& network, std::int64_t batch, const cuda::Stream& stream);

  std::int64_t batch() const noexcept { return batch_; }
  bool has_inputs() const noexcept { return has_inputs_; }
  void staging_moved() noexcept {
    whole_.graph = cuda::GraphExec();
    quick_.graph = cuda::GraphExec();
  }

  /// Copies in from `inputs` (one a port, any host memory), computes, copies out into the staging. `marks` may be null.
  /// The copy in is not part of the graph: launching the graph takes the host as long as the bus needs for a picture,
  /// and so costs nothing.
  void run(const Network& network, const Staging& staging, const void* const* inputs, Uploader& uploader,
           const cuda::Stream& stream, const Marks* marks, bool graphs);
  /// The same as one launch in which the device fetches the input and answers by itself; for what `fits_quick`. False:
  /// nothing was done, because its capture was refused.
  bool run_quick(const Network& network, const Staging& staging, const void* input, Uploader& uploader, Quick& quick,
                 const cuda::Stream& stream);
  /// The same as `run` where `prepare(address)` enqueues what fills the only input on the device.
  void run_prepared(const std::function<void(void* input)>& prepare, const Network& network, const Staging& staging,
                    const cuda::Stream& stream, const Marks* marks, bool graphs);
  /// Computes on the inputs that are on the device.
  void run_resident(const cuda::Stream& stream, const Marks* marks, bool graphs);
  /// Binds another executor to this lane's batch and buffers: it computes on the same inputs.
  void lend(const Network& network, Executor& other, const cuda::Stream& stream) const;
  void fetch(const Network& network, const Staging& staging, const cuda::Stream& stream) const;
  /// When the stream has ended what was run. Throws Failure.
  void finish() { executor_->finish(); }

  /// Why a capture was refused, once; empty otherwise.
  std::string take_refusal() { return std::exchange(refusal_, {}); }
  /// Why a capture is asked for again behind a first run, once; empty otherwise.
  std::string take_delay() { return std::exchange(delay_, {}); }

  std::uint64_t last_used = 0;

 private:
  struct Recording {
    cuda::GraphExec graph;
    bool refused = false;
  };
  void compute_and_fetch(const Network& network, const Staging& staging, const cuda::Stream& stream, const Marks* marks,
                         void (cuda::Event::*record)(const cuda::Stream&) const);
  template <typename Fill>
  void run_after(const Fill& fill, const Network& network, const Staging& staging, const cuda::Stream& stream,
                 const Marks* marks, bool graphs);
  void enqueue_quick(const Network& network, const Staging& staging, Quick& quick, const cuda::Stream& stream);
  template <typename Enqueue>
  void capture(Recording& recording, const cuda::Stream& stream, const Enqueue& enqueue);

  std::unique_ptr<Executor> executor_;
  std::int64_t batch_ = 0;
  std::vector<cuda::DeviceBuffer> inputs_, outputs_;
  bool has_inputs_ = false, has_run_ = false;
  Recording whole_, compute_;  // with and without the copy out
  Recording quick_;
  Quick::Held<FetchJob> fetch_;  // of `quick_`
  Quick::Held<AnswerJob> answer_;
  std::string refusal_, delay_;
};

}  // namespace ferry::nvinfer
