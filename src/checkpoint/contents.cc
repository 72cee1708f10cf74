#include "checkpoint/contents.h"

#include <algorithm>
#include <unordered_set>

namespace ferry {
namespace {

// The largest element index that a tensor touches, relative to its offset; refuses overflow.
std::int64_t last_index(const Shape& shape, const std::vector<std::int64_t>& strides, const Refusal& refuse) {
  std::int64_t last = 0;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    std::int64_t reach = 0;
    if (__builtin_mul_overflow(shape[i] - 1, strides[i], &reach) || __builtin_add_overflow(last, reach, &last))
      refuse("the tensor's shape " + to_string(shape) + " and strides overflow");
  }
  return last;
}

std::size_t dense_bytes(const CheckpointTensor& tensor) {
  return static_cast<std::size_t>(element_count(tensor.shape)) * size_of(tensor.dtype);
}

}  // namespace

void check_shape(const Shape& shape, DType dtype, const Refusal& refuse) {
  std::int64_t bytes = static_cast<std::int64_t>(size_of(dtype));
  for (std::int64_t dim : shape) {
    if (dim < 0) refuse("the tensor has a negative dimension");
    if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(dim, 1), &bytes))
      refuse("the tensor's shape is not one that memory can hold");
  }
}

std::vector<std::int64_t> row_major(const Shape& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<std::int64_t>(shape[i], 1);
  return strides;
}

CheckpointTensor place_tensor(std::string_view name, DType dtype, std::int64_t offset, Shape shape,
                              std::vector<std::int64_t> strides, std::string_view storage, const Refusal& refuse) {
  const Refusal refuse_tensor = refuse.about(name);
  const auto have = static_cast<std::int64_t>(storage.size() / size_of(dtype));
  if (shape.size() != strides.size())
    refuse_tensor("the tensor has " + std::to_string(shape.size()) + " dimensions and " +
                  std::to_string(strides.size()) + " strides");
  check_shape(shape, dtype, refuse_tensor);
  if (std::any_of(strides.begin(), strides.end(), [](std::int64_t stride) { return stride < 0; }))
    refuse_tensor("the tensor has a negative stride");
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  if (offset < 0 || offset > have) refuse_tensor("the tensor begins outside its storage");
  if (!empty && last_index(shape, strides, refuse_tensor) >= have - offset)
    refuse_tensor("the tensor " + to_string(shape) + " " + name_of(dtype) + " does not fit into its storage of " +
                  std::to_string(storage.size()) + " bytes");
  const auto* data =
      reinterpret_cast<const std::byte*>(storage.data()) + static_cast<std::size_t>(offset) * size_of(dtype);
  return {std::string(name), dtype, std::move(shape), std::move(strides), data};
}

void strip_prefixes(Contents& contents) {
  if (contents.tensors.empty()) return;
  for (bool again = true; again;) {
    again = false;
    for (const std::string prefix : {"module.", "model.", "_orig_mod."}) {
      const auto has_it = [&](const CheckpointTensor& tensor) {
        return tensor.name.starts_with(prefix) && tensor.name.size() > prefix.size();
      };
      if (!std::all_of(contents.tensors.begin(), contents.tensors.end(), has_it)) continue;
      for (CheckpointTensor& tensor : contents.tensors) tensor.name.erase(0, prefix.size());
      contents.notes.push_back("removed the prefix '" + prefix + "'");
      again = true;
    }
  }
}

void check_contents(const Contents& contents, std::size_t stored_bytes, const CheckpointLimits& limits,
                    const Refusal& refuse) {
  if (contents.tensors.empty()) refuse("there are no tensors in it");
  std::unordered_set<std::string_view> names;
  std::size_t dense = 0;
  const std::size_t most = std::min(limits.max_bytes, std::max<std::size_t>(stored_bytes, std::size_t{16} << 20) * 16);
  for (const CheckpointTensor& tensor : contents.tensors) {
    if (!names.insert(tensor.name).second) refuse.about(tensor.name)("two tensors have this name");
    if (__builtin_add_overflow(dense, dense_bytes(tensor), &dense) || dense > most)
      refuse.about(tensor.name)("the tensors expand to more than " + std::to_string(most) + " bytes from " +
                                std::to_string(stored_bytes) + " stored ones");
  }
}

}  // namespace ferry
