// What a pickle of tensors can hold, once read. Values live in the Unpickler's arena and point at each other freely:
// shared and even circular structures cost nothing to destroy, and nothing walks them without a bound.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ferry/tensor.h"

namespace ferry {

enum class Kind : std::uint8_t {
  kNone,
  kBool,
  kInt,
  kText,
  kBytes,  // also integers beyond 64 bits: their little-endian bytes
  kTuple,
  kList,
  kDict,     // also OrderedDict and defaultdict
  kGlobal,   // an allowed name: a class, a function, an element type
  kStorage,  // `number` is an index into TorchObjects::storages
  kTensor,   // `number` is an index into TorchObjects::tensors
  kOpaque,   // something allowed that has no meaning here: a float, a device, an argparse.Namespace
};
const char* name_of(Kind kind) noexcept;

struct Value {
  Kind kind = Kind::kNone;
  std::int64_t number = 0;
  std::string_view text;
  std::vector<const Value*> items;  // of a dictionary: key, value, key, value, ...

  bool is_text(std::string_view other) const noexcept { return kind == Kind::kText && text == other; }
};

/// An element type as torch names it; `dtype` is empty for those that ferry does not read.
struct ElementType {
  const char* name;
  std::size_t size;
  std::optional<DType> dtype;
};

/// Raw memory of tensors, referred to by key.
struct StorageRef {
  std::string_view key;
  const ElementType* type = nullptr;
  std::int64_t count = 0;                         // elements
  std::int64_t view_offset = 0, view_count = -1;  // legacy files: a window of it; -1: all
};

struct TensorRef {
  std::size_t storage = 0;
  const ElementType* type = nullptr;
  std::int64_t offset = 0;  // elements
  Shape shape;
  std::vector<std::int64_t> strides;
};

}  // namespace ferry
