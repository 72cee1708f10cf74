// Tensors on the host: dense, row-major, little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ferry {

/// Element types. The numbers are those of ONNX's TensorProto.DataType, so that they mean the same in every file and
/// across the backend interface.
enum class DType : std::int32_t {
  kFloat32 = 1,
  kUInt8 = 2,
  kInt8 = 3,
  kInt32 = 6,
  kInt64 = 7,
  kBool = 9,
  kFloat16 = 10,
  kFloat64 = 11,
  kBFloat16 = 16,
};

/// Size of one element in bytes.
std::size_t size_of(DType dtype) noexcept;
/// "float32", "float16", ... (NumPy's names; "bfloat16" where NumPy has none).
const char* name_of(DType dtype) noexcept;

/// Dimensions, outermost first. -1 stands for a dynamic dimension where a header says so, and nowhere else.
using Shape = std::vector<std::int64_t>;

/// Number of elements; 1 for a scalar (empty shape). Throws Error on a negative dimension or an overflow of int64.
std::int64_t element_count(const Shape& shape);
/// "1x3x224x224"; "scalar" for an empty shape; "N" for -1.
std::string to_string(const Shape& shape);

/// A tensor owned by somebody else. Valid as long as its owner says.
struct TensorView {
  DType dtype = DType::kFloat32;
  Shape shape;
  const std::byte* data = nullptr;  // row-major, no gaps; not necessarily aligned for the element type

  std::size_t size_bytes() const;
};

/// A tensor that owns its memory: 64-byte aligned, move-only; `clone()` copies on purpose. Not zeroed on creation.
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape);
  static Tensor copy_of(const TensorView& view);
  static Tensor zeros(DType dtype, Shape shape);
  /// Standard normal values from a seed: float32, the same on every machine and standard library.
  static Tensor random_normal(Shape shape, std::uint64_t seed);

  Tensor(Tensor&&) noexcept = default;
  Tensor& operator=(Tensor&&) noexcept = default;

  DType dtype() const noexcept { return dtype_; }
  const Shape& shape() const noexcept { return shape_; }
  std::int64_t elements() const { return element_count(shape_); }
  std::size_t size_bytes() const noexcept { return bytes_; }
  std::byte* data() noexcept { return data_.get(); }
  const std::byte* data() const noexcept { return data_.get(); }
  TensorView view() const { return {dtype_, shape_, data_.get()}; }
  Tensor clone() const { return copy_of(view()); }

  /// The elements as float32; throws Error if the tensor holds another type.
  std::span<float> floats();
  std::span<const float> floats() const;

 private:
  struct Free {
    void operator()(std::byte* p) const noexcept;
  };
  DType dtype_ = DType::kFloat32;
  Shape shape_{0};
  std::size_t bytes_ = 0;
  std::unique_ptr<std::byte[], Free> data_;
};

/// Converts between the floating-point types (round to nearest even, overflow becomes infinity, NaN stays NaN).
/// Integer tensors convert only to themselves; anything else throws Error.
Tensor convert(const TensorView& from, DType to);

/// IEEE 754 binary16 and bfloat16 as bit patterns, round to nearest even.
std::uint16_t float_to_half(float value) noexcept;
float half_to_float(std::uint16_t bits) noexcept;
std::uint16_t float_to_bfloat16(float value) noexcept;
float bfloat16_to_float(std::uint16_t bits) noexcept;

/// NumPy's .npy files, versions 1.0 to 3.0, little-endian, C order (numpy.lib.format). bfloat16 has no NumPy type and
/// is refused. `write_npy` writes to a temporary name and renames.
Tensor read_npy(const std::string& path);
void write_npy(const std::string& path, const TensorView& tensor);

}  // namespace ferry
