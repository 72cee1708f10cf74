// Protocol buffers as bytes: enough to read an ONNX model without libprotobuf, so that this module needs nothing but a
// compiler and the driver. Nothing is copied; every length is checked against what is there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ferry::latency {

/// Walks through the fields of one message. All throw nvinfer::Failure for bytes that are no such message.
class Wire {
 public:
  explicit Wire(std::string_view bytes) : rest_(bytes) {}

  /// Goes to the next field; false at the end.
  bool next();
  int field() const noexcept { return field_; }

  std::int64_t integer() const;    // of a varint field
  float real() const;              // of a 32-bit field
  std::string_view bytes() const;  // of a length-delimited field: text, bytes or a message
  std::string text() const { return std::string(bytes()); }
  /// Appends a repeated integer, packed or not.
  void append_to(std::vector<std::int64_t>& values) const;

 private:
  enum Type { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  std::string_view rest_, payload_;
  int field_ = 0, type_ = 0;
  std::uint64_t number_ = 0;
};

}  // namespace ferry::latency
