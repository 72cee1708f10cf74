// Bytes to the caller's sinks.
#pragma once

#include <string>

#include "backend_abi.h"
#include "nvinfer/failure.h"

namespace ferry::nvinfer {

inline void write_to(const ferry_sink& sink, const void* data, std::size_t size, const char* what) {
  if (sink.write == nullptr || sink.write(sink.user, data, size) != 0) {
    throw Failure("", std::string("the caller could not take ") + what, "is the disk full?");
  }
}

inline void write_to(const ferry_sink& sink, const std::string& text, const char* what) {
  write_to(sink, text.data(), text.size(), what);
}

}  // namespace ferry::nvinfer
