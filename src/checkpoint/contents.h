// What every reader hands back, and the checks that all of them share.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/refusal.h"
#include "ferry/checkpoint.h"

namespace ferry {

struct Contents {
  CheckpointFormat format = CheckpointFormat::kTorchZip;
  std::vector<CheckpointTensor> tensors;
  std::vector<std::string> notes;
  std::deque<std::string> owned;  // decompressed memory that tensors point into; addresses stay valid
};

// One reader per format. Tensors point into `file` or into `owned`.
Contents read_torch_zip(std::string_view file, const Refusal& refuse, const CheckpointLimits& limits);
Contents read_torch_legacy(std::string_view file, const Refusal& refuse, const CheckpointLimits& limits);
Contents read_safetensors(std::string_view file, const Refusal& refuse, const CheckpointLimits& limits);

bool looks_like_torch_legacy(std::string_view file) noexcept;
bool looks_like_safetensors(std::string_view file) noexcept;

/// A tensor inside a storage: `offset` and strides in elements. Refuses whatever does not lie inside `storage`.
CheckpointTensor place_tensor(std::string_view name, DType dtype, std::int64_t offset, Shape shape,
                              std::vector<std::int64_t> strides, std::string_view storage, const Refusal& refuse);

/// Refuses negative dimensions, and sizes in bytes that 63 bits cannot hold even if a dimension of 0 counts as 1.
void check_shape(const Shape& shape, DType dtype, const Refusal& refuse);
/// Row-major strides of a checked shape, in elements.
std::vector<std::int64_t> row_major(const Shape& shape);

/// Removes "module.", "model." and "_orig_mod." where every name starts with it, and notes it.
void strip_prefixes(Contents& contents);

/// Refuses two tensors of one name, an empty checkpoint, and tensors that together are far larger than the
/// `stored_bytes` they are made of (a few bytes, broadcast or shared into terabytes).
void check_contents(const Contents& contents, std::size_t stored_bytes, const CheckpointLimits& limits,
                    const Refusal& refuse);

}  // namespace ferry
