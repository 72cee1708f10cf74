// A file's bytes in memory: mapped where it can be, read where it cannot (pipes, special files).
#pragma once

#include <string>
#include <string_view>

namespace ferry {

class MappedFile {
 public:
  /// Throws Error(kCheckpoint).
  explicit MappedFile(const std::string& path);
  /// Bytes that were in memory already.
  static MappedFile of_bytes(std::string bytes);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::string_view bytes() const noexcept;
  /// Lets the system take back the pages of a slice of the mapping; reading it again finds the file's cache. Does
  /// nothing for bytes that are not mapped.
  void forget(const void* data, std::size_t size) const noexcept;

 private:
  MappedFile() = default;
  std::string copy_;
  void* map_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ferry
