// Conversions between floating-point types: round to nearest even, by bit patterns.
#include <bit>
#include <cstring>

#include "base/convert_bulk.h"
#include "ferry/error.h"
#include "ferry/tensor.h"

namespace ferry {

std::uint16_t float_to_half(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);   // NaN
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x33000001u) return static_cast<std::uint16_t>(sign);             // rounds to zero
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  std::uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  int shift = 13;
  std::uint32_t base = static_cast<std::uint32_t>(exponent + 15) << 10;
  if (exponent < -14) {  // subnormal half
    shift += -14 - exponent;
    base = 0;
  } else {
    mantissa &= 0x7fffffu;
  }
  const std::uint32_t rest = mantissa & ((1u << shift) - 1), halfway = 1u << (shift - 1);
  std::uint32_t result = base + (mantissa >> shift);
  if (rest > halfway || (rest == halfway && (result & 1))) ++result;  // may carry into the exponent: still right
  return static_cast<std::uint16_t>(sign | result);
}

float half_to_float(std::uint16_t bits) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1f, mantissa = bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

std::uint16_t float_to_bfloat16(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float bfloat16_to_float(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

namespace {

template <class T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

double read_as_double(const std::byte* p, DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return load<float>(p);
    case DType::kFloat64:
      return load<double>(p);
    case DType::kFloat16:
      return half_to_float(load<std::uint16_t>(p));
    default:
      return bfloat16_to_float(load<std::uint16_t>(p));
  }
}

template <class T>
void store(std::byte* p, T value) {
  std::memcpy(p, &value, sizeof value);
}

// Narrowing a double to 16 bits through float would round twice; "round to odd" on the way makes the second rounding
// exact (Boldo and Melquiond, 2008).
float narrow_to_odd(double value) {
  const float nearest = static_cast<float>(value);
  if (static_cast<double>(nearest) == value || nearest != nearest || nearest - nearest != 0.0f) return nearest;
  std::uint32_t bits = std::bit_cast<std::uint32_t>(nearest);
  const bool rounded_away = (nearest > 0) ? static_cast<double>(nearest) > value : static_cast<double>(nearest) < value;
  if (rounded_away && (bits & 0x7fffffffu) != 0) --bits;
  return std::bit_cast<float>(bits | 1u);
}

void write_from_double(std::byte* p, DType dtype, double value) {
  switch (dtype) {
    case DType::kFloat32:
      return store(p, static_cast<float>(value));
    case DType::kFloat64:
      return store(p, value);
    case DType::kFloat16:
      return store(p, float_to_half(narrow_to_odd(value)));
    default:
      return store(p, float_to_bfloat16(narrow_to_odd(value)));
  }
}

bool is_floating(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kFloat16 || dtype == DType::kBFloat16;
}

}  // namespace

Tensor convert(const TensorView& from, DType to) {
  if (from.dtype == to) return Tensor::copy_of(from);
  if (!is_floating(from.dtype) || !is_floating(to))
    throw Error(Stage::kModel, {}, std::string("cannot convert ") + name_of(from.dtype) + " to " + name_of(to));
  Tensor result(to, from.shape);
  const std::size_t in = size_of(from.dtype), out = size_of(to);
  const std::size_t count = static_cast<std::size_t>(element_count(from.shape));
  if (from.dtype == DType::kFloat16 && to == DType::kFloat32) {  // the common case: checkpoints stored in half
    halves_to_floats(from.data, result.floats().data(), count);
    return result;
  }
  if (from.dtype == DType::kFloat32 && to == DType::kFloat16) {
    floats_to_halves(from.data, result.data(), count);
    return result;
  }
  if (from.dtype == DType::kBFloat16 && to == DType::kFloat32) {
    float* target = result.floats().data();
    for (std::size_t i = 0; i < count; ++i) target[i] = bfloat16_to_float(load<std::uint16_t>(from.data + 2 * i));
    return result;
  }
  for (std::size_t i = 0; i < count; ++i)
    write_from_double(result.data() + i * out, to, read_as_double(from.data + i * in, from.dtype));
  return result;
}

}  // namespace ferry
