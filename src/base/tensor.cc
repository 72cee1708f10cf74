#include "ferry/tensor.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "ferry/error.h"

namespace ferry {

std::size_t size_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::kUInt8:
    case DType::kInt8:
    case DType::kBool:
      return 1;
    case DType::kFloat16:
    case DType::kBFloat16:
      return 2;
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kInt64:
    case DType::kFloat64:
      return 8;
  }
  return 0;
}

const char* name_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kUInt8:
      return "uint8";
    case DType::kInt8:
      return "int8";
    case DType::kInt32:
      return "int32";
    case DType::kInt64:
      return "int64";
    case DType::kBool:
      return "bool";
    case DType::kFloat16:
      return "float16";
    case DType::kFloat64:
      return "float64";
    case DType::kBFloat16:
      return "bfloat16";
  }
  return "unknown";
}

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  for (std::int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(count, dim, &count))
      throw Error(Stage::kModel, to_string(shape), "not a shape that memory can hold");
  }
  return count;
}

std::string to_string(const Shape& shape) {
  if (shape.empty()) return "scalar";
  std::string text;
  for (std::int64_t dim : shape) {
    if (!text.empty()) text += 'x';
    text += dim == -1 ? "N" : std::to_string(dim);
  }
  return text;
}

std::size_t TensorView::size_bytes() const { return static_cast<std::size_t>(element_count(shape)) * size_of(dtype); }

void Tensor::Free::operator()(std::byte* p) const noexcept { std::free(p); }

Tensor::Tensor(DType dtype, Shape shape) : dtype_(dtype), shape_(std::move(shape)) {
  std::size_t count = static_cast<std::size_t>(element_count(shape_));
  if (__builtin_mul_overflow(count, size_of(dtype), &bytes_))
    throw Error(Stage::kModel, to_string(shape_), "not a shape that memory can hold");
  std::size_t rounded = (bytes_ + 63) / 64 * 64;
  if (rounded < bytes_) throw std::bad_alloc();
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(64, rounded == 0 ? 64 : rounded)));
  if (!data_) throw std::bad_alloc();
}

Tensor Tensor::copy_of(const TensorView& view) {
  Tensor tensor(view.dtype, view.shape);
  if (tensor.bytes_ != 0) std::memcpy(tensor.data(), view.data, tensor.bytes_);
  return tensor;
}

Tensor Tensor::zeros(DType dtype, Shape shape) {
  Tensor tensor(dtype, std::move(shape));
  std::memset(tensor.data(), 0, tensor.bytes_);
  return tensor;
}

std::span<float> Tensor::floats() {
  if (dtype_ != DType::kFloat32) throw Error(Stage::kRun, {}, std::string("expected float32, got ") + name_of(dtype_));
  return {reinterpret_cast<float*>(data()), bytes_ / sizeof(float)};
}

std::span<const float> Tensor::floats() const {
  if (dtype_ != DType::kFloat32) throw Error(Stage::kRun, {}, std::string("expected float32, got ") + name_of(dtype_));
  return {reinterpret_cast<const float*>(data()), bytes_ / sizeof(float)};
}

}  // namespace ferry
