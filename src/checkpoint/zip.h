// A reader of zip archives over bytes in memory: central directory, zip64, stored and deflated entries.
//
// Format: PKWARE APPNOTE 6.3. Only what checkpoints use; encryption, several disks and other methods are refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/refusal.h"

namespace ferry {

struct ZipEntry {
  std::string_view name;
  std::uint16_t method = 0;  // 0 stored, 8 deflated
  std::uint32_t crc = 0;
  std::uint64_t compressed_size = 0, size = 0;
  std::uint64_t header = 0;  // of the local header
  std::uint64_t limit = 0;   // where the next header, or the central directory, begins: data must end before it
};

class ZipArchive {
 public:
  static bool looks_like_zip(std::string_view bytes) noexcept;

  /// Reads the central directory; touches no entry's data. Refuses duplicate names, overlapping entries and sizes that
  /// cannot be. `bytes` must outlive the archive and the views it hands out.
  ZipArchive(std::string_view bytes, Refusal refuse, std::size_t max_entries);

  const std::vector<ZipEntry>& entries() const noexcept { return entries_; }
  const ZipEntry* find(std::string_view name) const noexcept;

  /// The bytes of a stored entry, in place. The checksum is not read.
  std::string_view stored(const ZipEntry& entry) const;
  /// The bytes of a deflated entry. The caller has checked `entry.size` against what it can hold.
  std::string inflate(const ZipEntry& entry) const;
  void check_crc(const ZipEntry& entry, std::string_view content) const;

 private:
  struct Directory {
    std::uint64_t entries = 0, size = 0, offset = 0;
  };
  Directory find_directory() const;
  Directory zip64_directory(std::uint64_t locator, const Directory& directory) const;
  void read_directory(const Directory& directory);
  void forbid_overlap(std::uint64_t directory_offset);
  std::string_view raw(const ZipEntry& entry) const;

  std::string_view bytes_;
  Refusal refuse_;
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string_view, std::size_t> by_name_;
};

}  // namespace ferry
