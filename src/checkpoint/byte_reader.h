// Reading little-endian numbers and slices without ever leaving the bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "checkpoint/refusal.h"

namespace ferry {

class ByteReader {
 public:
  /// `refuse` must outlive the reader.
  ByteReader(std::string_view bytes, const Refusal& refuse, std::size_t position = 0)
      : bytes_(bytes), refuse_(refuse), position_(position) {
    if (position_ > bytes_.size()) cut(0);
  }

  std::size_t position() const noexcept { return position_; }
  std::size_t left() const noexcept { return bytes_.size() - position_; }

  std::string_view take(std::uint64_t size) {
    if (size > left()) cut(size);
    const std::string_view slice = bytes_.substr(position_, static_cast<std::size_t>(size));
    position_ += slice.size();
    return slice;
  }
  void skip(std::uint64_t size) { take(size); }
  std::uint8_t u8() { return static_cast<std::uint8_t>(number(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() { return number(8); }
  /// Up to the next line feed, which is consumed and not returned.
  std::string_view line() {
    const std::size_t end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) cut(left() + 1);
    const std::string_view text = take(end - position_);
    skip(1);
    return text;
  }

 private:
  std::uint64_t number(std::size_t size) {
    const std::string_view slice = take(size);
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) value = value << 8 | static_cast<std::uint8_t>(slice[i]);
    return value;
  }
  [[noreturn]] void cut(std::uint64_t wanted) const {
    refuse_("truncated: " + std::to_string(wanted) + " bytes wanted at byte " + std::to_string(position_) + " of " +
                std::to_string(bytes_.size()),
            kDamaged);
  }

  std::string_view bytes_;
  const Refusal& refuse_;
  std::size_t position_;
};

}  // namespace ferry
