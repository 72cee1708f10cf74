#include "nvinfer/monitor.h"

#include "backend_abi.h"
#include "nvinfer/failure.h"

namespace ferry::nvinfer {
namespace {
constexpr std::int64_t kBar = 1000;
constexpr const char* kPhase = "building engine";
}  // namespace

// Called with the mutex held, so that the caller never sees the bar step back.
void Monitor::report() noexcept {
  if (progress_.step == nullptr || cancelled_) return;
  const auto done = static_cast<std::int64_t>(tree_.fraction() * kBar);
  if (progress_.step(progress_.user, kPhase, done, kBar) != 0) cancelled_ = true;
}

void Monitor::phaseStart(const char* name, const char* parent, int32_t steps) noexcept {
  const std::lock_guard lock(mutex_);
  tree_.start(name, parent == nullptr ? "" : parent, steps);
  report();
}

bool Monitor::stepComplete(const char* name, int32_t step) noexcept {
  const std::lock_guard lock(mutex_);
  tree_.step(name, step);
  report();
  return !cancelled_;
}

void Monitor::phaseFinish(const char* name) noexcept {
  const std::lock_guard lock(mutex_);
  tree_.finish(name);
  report();
}

void Monitor::complete() {
  const std::lock_guard lock(mutex_);
  if (progress_.step != nullptr) progress_.step(progress_.user, kPhase, kBar, kBar);
}

void Monitor::check_cancelled() {
  const std::lock_guard lock(mutex_);
  report();
  if (cancelled_) throw cancelled();
}

}  // namespace ferry::nvinfer
