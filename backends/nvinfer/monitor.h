// The builder's progress, passed on as one bar, and the way to cancel a build.
#pragma once

#include <atomic>
#include <mutex>

#include "backend_abi.h"
#include "nvinfer/progress.h"
#include "nvinfer/sdk.h"

namespace ferry::nvinfer {

class Monitor final : public nvinfer1::IProgressMonitor {
 public:
  explicit Monitor(const ferry_progress& progress) : progress_(progress) {}

  void phaseStart(const char* name, const char* parent, int32_t steps) noexcept override;
  bool stepComplete(const char* name, int32_t step) noexcept override;
  void phaseFinish(const char* name) noexcept override;

  /// Reports the end of the bar.
  void complete();
  /// Asks the caller whether to go on, outside the SDK's phases. Throws `cancelled()` if not.
  void check_cancelled();
  bool was_cancelled() const noexcept { return cancelled_; }

 private:
  void report() noexcept;
  ferry_progress progress_;
  std::mutex mutex_;
  ProgressTree tree_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace ferry::nvinfer
