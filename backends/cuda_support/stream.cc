#include "cuda_support/stream.h"

#include <limits>

#include "cuda_support/driver.h"
#include "cuda_support/error.h"

namespace ferry::cuda {

Stream::Stream() { check(driver().cuStreamCreate(&handle_, CU_STREAM_NON_BLOCKING), "cuStreamCreate"); }

Stream::~Stream() {
  if (handle_ != nullptr) check_in_destructor(driver_if_loaded()->cuStreamDestroy_v2(handle_), "cuStreamDestroy");
}

void Stream::synchronize() const { check(driver().cuStreamSynchronize(handle_), "cuStreamSynchronize"); }

Event::Event(Wait wait) {
  const unsigned flags = wait == Wait::kBlocking ? CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING : CU_EVENT_DEFAULT;
  check(driver().cuEventCreate(&handle_, flags), "cuEventCreate");
}

Event::~Event() {
  if (handle_ != nullptr) check_in_destructor(driver_if_loaded()->cuEventDestroy_v2(handle_), "cuEventDestroy");
}

void Event::record(const Stream& stream) const {
  check(driver().cuEventRecord(handle_, stream.handle()), "cuEventRecord");
}

void Event::record_in_graph(const Stream& stream) const {
  check(driver().cuEventRecordWithFlags(handle_, stream.handle(), CU_EVENT_RECORD_EXTERNAL), "cuEventRecordWithFlags");
}

void Event::synchronize() const { check(driver().cuEventSynchronize(handle_), "cuEventSynchronize"); }

double Event::elapsed_ms(const Event& start, const Event& stop) {
  float milliseconds = 0;
  if (driver().cuEventElapsedTime(&milliseconds, start.handle_, stop.handle_) != CUDA_SUCCESS) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return milliseconds;
}

}  // namespace ferry::cuda
