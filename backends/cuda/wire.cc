#include "cuda/wire.h"

#include <cstring>

#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

[[noreturn]] void broken(const char* why) {
  throw nvinfer::Failure("ONNX", std::string("the bytes are no ONNX model: ") + why,
                         "check the file with: ferry inspect FILE");
}

std::uint64_t take_varint(std::string_view& from) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (from.empty()) broken("a number is cut off");
    const auto byte = static_cast<unsigned char>(from.front());
    from.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  broken("a number is longer than 64 bits");
}

std::string_view take(std::string_view& from, std::uint64_t size) {
  if (size > from.size()) broken("a field is longer than the file");
  const std::string_view taken = from.substr(0, size);
  from.remove_prefix(size);
  return taken;
}

}  // namespace

bool Wire::next() {
  if (rest_.empty()) return false;
  const std::uint64_t key = take_varint(rest_);
  if (key >> 3 == 0 || key >> 3 > 0x1fffffff) broken("a field has an impossible number");
  field_ = static_cast<int>(key >> 3);
  type_ = static_cast<int>(key & 7);
  switch (type_) {
    case kVarint:
      number_ = take_varint(rest_);
      break;
    case kFixed64:
      payload_ = take(rest_, 8);
      break;
    case kBytes:
      payload_ = take(rest_, take_varint(rest_));
      break;
    case kFixed32:
      payload_ = take(rest_, 4);
      break;
    default:
      broken("a field has an unknown type");
  }
  return true;
}

std::int64_t Wire::integer() const {
  if (type_ != kVarint) broken("a number was expected");
  return static_cast<std::int64_t>(number_);
}

float Wire::real() const {
  if (type_ != kFixed32) broken("a 32-bit number was expected");
  float value;
  std::memcpy(&value, payload_.data(), sizeof value);
  return value;
}

std::string_view Wire::bytes() const {
  if (type_ != kBytes) broken("text or a message was expected");
  return payload_;
}

void Wire::append_to(std::vector<std::int64_t>& values) const {
  if (type_ == kVarint) {
    values.push_back(integer());
    return;
  }
  std::string_view packed = bytes();
  while (!packed.empty()) values.push_back(static_cast<std::int64_t>(take_varint(packed)));
}

}  // namespace ferry::latency
