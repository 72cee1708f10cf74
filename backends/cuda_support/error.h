// How CUDA calls fail: with the call's name, the driver's number, name and text, and what was asked for.
#pragma once

#include <stdexcept>
#include <string>

namespace ferry::cuda {

class Error : public std::runtime_error {
 public:
  /// `detail` says what was asked for ("154140672 bytes"); may be empty.
  Error(const char* call, int code, const std::string& detail);

  const std::string& call() const noexcept { return call_; }
  int code() const noexcept { return code_; }
  bool out_of_memory() const noexcept;
  /// The device or its context is lost: nothing on it can be used again in this process.
  bool sticky() const noexcept;

 private:
  std::string call_;
  int code_;
};

/// There is no usable driver or GPU at all.
class Unavailable : public std::runtime_error {
 public:
  Unavailable(const std::string& reason, std::string remedy) : std::runtime_error(reason), remedy_(std::move(remedy)) {}
  const std::string& remedy() const noexcept { return remedy_; }

 private:
  std::string remedy_;
};

/// "CUDA_ERROR_OUT_OF_MEMORY (2): out of memory"
std::string describe(int code);

/// Throws Error unless `code` is success.
void check(int code, const char* call, const std::string& detail = {});

/// For destructors: keeps the failure's text instead of throwing.
void check_in_destructor(int code, const char* call) noexcept;
/// The last failure that a destructor had to swallow, then forgets it; empty if none.
std::string take_swallowed_error();

}  // namespace ferry::cuda
