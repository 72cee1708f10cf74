// The few messages of ONNX that a test network needs, in protobuf's wire format.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace ferry::testing::onnx {

enum Type : std::int64_t { kFloat = 1, kInt8 = 3, kInt64 = 7, kHalf = 10 };

class Message {
 public:
  Message& number(int field, std::int64_t value) {
    varint(static_cast<std::uint64_t>(field) << 3);
    varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  Message& text(int field, const std::string& value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return text(field, value.bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 128; value >>= 7) bytes_ += static_cast<char>((value & 127) | 128);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

inline Message tensor(const std::string& name, Type type, const std::vector<std::int64_t>& shape,
                      const std::string& raw) {
  Message tensor;
  for (const std::int64_t dim : shape) tensor.number(1, dim);
  return tensor.number(2, type).text(8, name).text(9, raw);
}

template <typename Value>
std::string raw(const std::vector<Value>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value)};
}

inline Message attribute(const std::string& name, std::int64_t value) {
  return Message().text(1, name).number(3, value).number(20, 2);
}

inline Message attribute(const std::string& name, const std::vector<std::int64_t>& values) {
  Message attribute;
  attribute.text(1, name);
  for (const std::int64_t value : values) attribute.number(8, value);
  return attribute.number(20, 7);
}

inline Message node(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
                    const std::string& output, const std::vector<Message>& attributes = {}) {
  Message node;
  for (const std::string& input : inputs) node.text(1, input);
  node.text(2, output).text(3, name).text(4, op);
  for (const Message& attribute : attributes) node.message(5, attribute);
  return node;
}

/// A graph input or output; a dimension of 0 is the dynamic "N".
inline Message port(const std::string& name, Type type, const std::vector<std::int64_t>& shape) {
  Message dims;
  for (const std::int64_t dim : shape) {
    dims.message(1, dim == 0 ? Message().text(2, "N") : Message().number(1, dim));
  }
  const Message tensor_type = Message().number(1, type).message(2, dims);
  return Message().text(1, name).message(2, Message().message(1, tensor_type));
}

inline std::string model(const Message& graph) {
  const Message opset = Message().text(1, "").number(2, 17);
  return Message().number(1, 8).text(2, "ferry-tests").message(7, graph).message(8, opset).bytes();
}

}  // namespace ferry::testing::onnx
