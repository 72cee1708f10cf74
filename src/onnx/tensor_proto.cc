#include "onnx/tensor_proto.h"

#include <fmt/format.h>

#include <cstring>

#include "ferry/error.h"

namespace ferry {
namespace {

using onnx::TensorProto;

std::size_t expected_bytes(const TensorProto& tensor, const std::string& model) {
  const std::size_t size = element_size(tensor.data_type());
  if (size == 0)
    throw Error(Stage::kOnnx, tensor.name(),
                fmt::format("{}: weights of type {} are not supported", model, type_name(tensor.data_type())));
  std::size_t count = 1, bytes = 0;
  for (std::int64_t dim : tensor.dims())
    if (dim < 0 || __builtin_mul_overflow(count, static_cast<std::size_t>(dim), &count))
      throw Error(Stage::kOnnx, tensor.name(), model + ": the shape of this tensor is impossible");
  if (__builtin_mul_overflow(count, size, &bytes))
    throw Error(Stage::kOnnx, tensor.name(), model + ": the shape of this tensor is impossible");
  return bytes;
}

/// Appends each value of a typed field as a T: ONNX stores small types (float16, int8, bool) widened to int32.
template <class T, class Field>
void append(std::string& raw, const Field& field) {
  raw.reserve(static_cast<std::size_t>(field.size()) * sizeof(T));
  for (const auto& wide : field) {
    const T value = static_cast<T>(wide);
    raw.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
}

std::string typed_data(const TensorProto& tensor) {
  std::string raw;
  switch (tensor.data_type()) {
    case TensorProto::FLOAT:
      append<float>(raw, tensor.float_data());
      break;
    case TensorProto::DOUBLE:
      append<double>(raw, tensor.double_data());
      break;
    case TensorProto::INT64:
      append<std::int64_t>(raw, tensor.int64_data());
      break;
    case TensorProto::UINT64:
      append<std::uint64_t>(raw, tensor.uint64_data());
      break;
    case TensorProto::UINT32:
      append<std::uint32_t>(raw, tensor.uint64_data());
      break;
    case TensorProto::INT32:
      append<std::int32_t>(raw, tensor.int32_data());
      break;
    case TensorProto::FLOAT16:
    case TensorProto::BFLOAT16:
    case TensorProto::INT16:
    case TensorProto::UINT16:
      append<std::uint16_t>(raw, tensor.int32_data());
      break;
    case TensorProto::INT8:
    case TensorProto::UINT8:
    case TensorProto::BOOL:
      append<std::uint8_t>(raw, tensor.int32_data());
      break;
    default:
      break;
  }
  return raw;
}

template <class T>
T element(const TensorProto& tensor, std::size_t index) {
  T value;
  std::memcpy(&value, tensor.raw_data().data() + index * sizeof value, sizeof value);
  return value;
}

template <class T>
void store(std::string& raw, std::size_t index, T value) {
  std::memcpy(raw.data() + index * sizeof value, &value, sizeof value);
}

double double_at(const TensorProto& tensor, std::size_t i) {
  switch (tensor.data_type()) {
    case TensorProto::FLOAT:
      return element<float>(tensor, i);
    case TensorProto::DOUBLE:
      return element<double>(tensor, i);
    case TensorProto::FLOAT16:
      return half_to_float(element<std::uint16_t>(tensor, i));
    default:
      return bfloat16_to_float(element<std::uint16_t>(tensor, i));
  }
}

}  // namespace

Shape shape_of(const TensorProto& tensor) { return {tensor.dims().begin(), tensor.dims().end()}; }

std::size_t element_size(int onnx_type) noexcept {
  switch (onnx_type) {
    case TensorProto::INT8:
    case TensorProto::UINT8:
    case TensorProto::BOOL:
      return 1;
    case TensorProto::FLOAT16:
    case TensorProto::BFLOAT16:
    case TensorProto::INT16:
    case TensorProto::UINT16:
      return 2;
    case TensorProto::FLOAT:
    case TensorProto::INT32:
    case TensorProto::UINT32:
      return 4;
    case TensorProto::DOUBLE:
    case TensorProto::INT64:
    case TensorProto::UINT64:
      return 8;
    default:
      return 0;
  }
}

std::string type_name(int onnx_type) {
  // Numbers above 16 are newer than the library that ferry parses with.
  static const char* const names[] = {"undefined",      "float32",  "uint8",        "int8",           "uint16",
                                      "int16",          "int32",    "int64",        "string",         "bool",
                                      "float16",        "float64",  "uint32",       "uint64",         "complex64",
                                      "complex128",     "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2",
                                      "float8e5m2fnuz", "uint4",    "int4",         "float4e2m1"};
  if (onnx_type >= 0 && onnx_type < static_cast<int>(std::size(names))) return names[onnx_type];
  return fmt::format("number {}", onnx_type);
}

TensorProto make_tensor(const std::string& name, const TensorView& view) {
  TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(static_cast<int>(view.dtype));
  for (std::int64_t dim : view.shape) tensor.add_dims(dim);
  tensor.mutable_raw_data()->assign(reinterpret_cast<const char*>(view.data), view.size_bytes());
  return tensor;
}

TensorProto make_int64s(const std::string& name, const std::vector<std::int64_t>& values) {
  const Shape shape{static_cast<std::int64_t>(values.size())};
  return make_tensor(name, {DType::kInt64, shape, reinterpret_cast<const std::byte*>(values.data())});
}

void to_raw(TensorProto& tensor, const std::string& model) {
  if (!tensor.has_raw_data()) {
    std::string raw = typed_data(tensor);
    tensor.clear_float_data();
    tensor.clear_double_data();
    tensor.clear_int32_data();
    tensor.clear_int64_data();
    tensor.clear_uint64_data();
    *tensor.mutable_raw_data() = std::move(raw);
  }
  check_raw(tensor, model);
}

void check_raw(const TensorProto& tensor, const std::string& model) {
  const std::size_t expected = expected_bytes(tensor, model), have = tensor.raw_data().size();
  if (have != expected)
    throw Error(Stage::kOnnx, tensor.name(),
                fmt::format("{}: a {} tensor of shape {} needs {} bytes, the file has {}", model,
                            type_name(tensor.data_type()), to_string(shape_of(tensor)), expected, have),
                "The file is damaged or was cut off: export or copy it again.");
}

std::span<float> floats_of(TensorProto& tensor) {
  std::string& raw = *tensor.mutable_raw_data();
  return {reinterpret_cast<float*>(raw.data()), raw.size() / sizeof(float)};
}

std::span<const float> floats_of(const TensorProto& tensor) {
  const std::string& raw = tensor.raw_data();
  return {reinterpret_cast<const float*>(raw.data()), raw.size() / sizeof(float)};
}

bool is_floating(int onnx_type) noexcept {
  return onnx_type == TensorProto::FLOAT || onnx_type == TensorProto::FLOAT16 || onnx_type == TensorProto::BFLOAT16 ||
         onnx_type == TensorProto::DOUBLE;
}

std::vector<double> doubles_of(const TensorProto& tensor) {
  std::vector<double> values(tensor.raw_data().size() / element_size(tensor.data_type()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = double_at(tensor, i);
  return values;
}

void set_doubles(TensorProto& tensor, std::span<const double> values) {
  std::string& raw = *tensor.mutable_raw_data();
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (tensor.data_type()) {
      case TensorProto::FLOAT:
        store(raw, i, static_cast<float>(values[i]));
        break;
      case TensorProto::DOUBLE:
        store(raw, i, values[i]);
        break;
      case TensorProto::FLOAT16:
        store(raw, i, float_to_half(static_cast<float>(values[i])));
        break;
      default:
        store(raw, i, float_to_bfloat16(static_cast<float>(values[i])));
        break;
    }
  }
}

std::vector<std::int64_t> integers_of(const TensorProto& tensor) {
  const bool wide = tensor.data_type() == TensorProto::INT64;
  std::vector<std::int64_t> values(tensor.raw_data().size() / (wide ? 8 : 4));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = wide ? element<std::int64_t>(tensor, i) : element<std::int32_t>(tensor, i);
  return values;
}

}  // namespace ferry
