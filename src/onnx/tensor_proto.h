// Weights inside an ONNX model. Everything here works on `raw_data`; `to_raw` brings the other fields there.
#pragma once

#include <onnx/onnx_pb.h>

#include <span>
#include <string>
#include <vector>

#include "ferry/tensor.h"

namespace ferry {

Shape shape_of(const onnx::TensorProto& tensor);

/// Size of one element of an ONNX type; 0 for strings, 4-bit and unknown types.
std::size_t element_size(int onnx_type) noexcept;
/// "float32", "int4" ... for messages, also for types that ferry does not compute with.
std::string type_name(int onnx_type);

/// A new tensor that copies `view`.
onnx::TensorProto make_tensor(const std::string& name, const TensorView& view);
onnx::TensorProto make_int64s(const std::string& name, const std::vector<std::int64_t>& values);

/// Moves float_data, int64_data and the like into raw_data. Throws Error(kOnnx) if the element count does not match the
/// shape, if the shape is impossible, or if there is no data at all.
void to_raw(onnx::TensorProto& tensor, const std::string& model);
/// Throws Error(kOnnx) unless raw_data holds exactly what type and shape say.
void check_raw(const onnx::TensorProto& tensor, const std::string& model);

/// The elements of a float32 tensor in place. REQUIRES: checked raw_data.
std::span<float> floats_of(onnx::TensorProto& tensor);
std::span<const float> floats_of(const onnx::TensorProto& tensor);
/// The elements of a float32, float16, bfloat16 or float64 tensor as double. REQUIRES: checked raw_data.
std::vector<double> doubles_of(const onnx::TensorProto& tensor);
/// Rounds to the tensor's own type and writes them back. REQUIRES: as many as there are elements.
void set_doubles(onnx::TensorProto& tensor, std::span<const double> values);
bool is_floating(int onnx_type) noexcept;
/// The elements of an int64 or int32 tensor. REQUIRES: checked raw_data.
std::vector<std::int64_t> integers_of(const onnx::TensorProto& tensor);

}  // namespace ferry
