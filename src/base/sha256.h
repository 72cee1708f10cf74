// SHA-256, a piece at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace ferry {

class Sha256 {
 public:
  Sha256();
  void update(const void* data, std::size_t size);
  std::string hex();  // lower case; call once, at the end

 private:
  struct Free {
    void operator()(void* context) const noexcept;
  };
  std::unique_ptr<void, Free> context_;
};

}  // namespace ferry
