// A library opened at run time. Never closed: drivers and SDKs keep threads and exit handlers of their own.
#pragma once

#include <string>

namespace ferry {

class SharedLibrary {
 public:
  SharedLibrary() = default;
  /// Opens with RTLD_NOW | RTLD_LOCAL. On failure `is_open` is false and `error` is the loader's reason.
  static SharedLibrary open(const std::string& path);

  bool is_open() const noexcept { return handle_ != nullptr; }
  const std::string& error() const noexcept { return error_; }
  /// nullptr if the library has no such symbol.
  void* symbol(const char* name) const noexcept;
  /// The file that provides `address`, as the loader names it; empty if unknown.
  static std::string path_of(const void* address);

 private:
  void* handle_ = nullptr;
  std::string error_;
};

}  // namespace ferry
