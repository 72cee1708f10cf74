// The one exception type of these modules; module.cc turns it into a status and last_error at the C interface.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include "backend_abi.h"

namespace ferry::nvinfer {

struct Failure : std::exception {
  Failure(std::string failed_subject, std::string failed_cause, std::string what_to_do, ferry_status as = FERRY_FAILED)
      : status(as), subject(std::move(failed_subject)), cause(std::move(failed_cause)), hint(std::move(what_to_do)) {}
  const char* what() const noexcept override { return cause.c_str(); }

  ferry_status status;
  std::string subject;  // node, tensor, library; may be empty
  std::string cause;    // one sentence without a final full stop
  std::string hint;     // what to do
};

/// The progress callback asked to stop.
inline Failure cancelled() { return {"", "cancelled", "", FERRY_CANCELLED}; }

}  // namespace ferry::nvinfer
