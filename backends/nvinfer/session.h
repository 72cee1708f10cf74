// One stream of requests over an engine: its stream, its activation memory, its staging, and a lane for each batch size
// in use. One thread at a time; nothing is allocated and nothing locked once a batch size is warm.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "backend_abi.h"
#include "cuda_pictures/preparer.h"
#include "cuda_support/context.h"
#include "nvinfer/lane.h"
#include "nvinfer/options.h"

namespace ferry::nvinfer {

class Session {
 public:
  using Say = std::function<void(int severity, const std::string&)>;  // as in ferry_log
  /// `context` must be current for the constructor, every call, and the destructor. `network` must outlive this.
  Session(Network& network, const OpenOptions& options, Say say);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  /// Throw Failure or cuda::Error. See backend_abi.h for the contracts.
  void staging(std::int64_t batch, void** inputs, void** outputs);
  void submit(const ferry_run_args& args);
  void* image_staging(std::uint64_t size);
  void submit_images(const ferry_images_args& args);
  void wait(ferry_times* times);
  /// Each layer's time on the inputs of the last run at this batch: `layers` as backend_abi.h has it under `profile`.
  nlohmann::json profile(std::int64_t batch, int runs);

 private:
  struct Request {
    bool resident = false, fetches = false;
    std::int64_t batch = 0;
    double enqueue_ms = 0;
    bool quick = false;  // answered by a flag
    Lane* lane = nullptr;
  };
  void start(Lane& lane, const ferry_run_args& args);
  /// What every request has in common: the lane, memory for outputs, times, and an end to it where `start` throws.
  void begin(const Request& request, void* const* outputs, const std::function<void(Lane&)>& start);
  void require_idle() const;
  Lane& lane_for(std::int64_t batch);
  Lane& make_lane(std::int64_t batch);
  void reserve(std::int64_t batch, Staging::Asked asked);
  void check(const ferry_run_args& args, bool resident, bool fetches) const;
  void copy_outputs() const;
  void repeat_copied();
  /// What quick requests need, made when the first one comes; null where there can be none.
  Quick* quick_for(const Request& request);
  ferry_times times() const;
  const Marks* marks() const noexcept { return options_.timing ? &marks_ : nullptr; }

  Network& network_;
  OpenOptions options_;
  Say say_;
  bool warned_ = false;
  cuda::DeviceBuffer arena_;
  cuda::Stream stream_;
  Marks marks_;
  std::optional<cuda::Event> done_;  // where waiting is to leave the core to others
  Staging staging_;
  Uploader uploader_;
  std::unique_ptr<Quick> quick_;
  bool no_quick_ = false;                         // it was tried in vain
  std::unique_ptr<pictures::Preparer> preparer_;  // made when pictures are first asked for
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::uint64_t uses_ = 0;
  bool in_flight_ = false;
  Request request_;
  std::vector<void*> targets_;  // where the outputs of the request in flight go
};

}  // namespace ferry::nvinfer
