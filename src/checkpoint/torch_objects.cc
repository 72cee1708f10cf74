#include "checkpoint/torch_objects.h"

#include <array>

namespace ferry {
namespace {

// Element types by torch's name; the storage class of each is the third column.
struct TypeName {
  ElementType type;
  const char* storage_class;
};
constexpr std::array kTypes = {
    TypeName{{"float32", 4, DType::kFloat32}, "FloatStorage"},
    TypeName{{"float16", 2, DType::kFloat16}, "HalfStorage"},
    TypeName{{"bfloat16", 2, DType::kBFloat16}, "BFloat16Storage"},
    TypeName{{"float64", 8, DType::kFloat64}, "DoubleStorage"},
    TypeName{{"int64", 8, DType::kInt64}, "LongStorage"},
    TypeName{{"int32", 4, DType::kInt32}, "IntStorage"},
    TypeName{{"int16", 2, {}}, "ShortStorage"},
    TypeName{{"int8", 1, DType::kInt8}, "CharStorage"},
    TypeName{{"uint8", 1, DType::kUInt8}, "ByteStorage"},
    TypeName{{"bool", 1, DType::kBool}, "BoolStorage"},
    TypeName{{"complex64", 8, {}}, "ComplexFloatStorage"},
    TypeName{{"complex128", 16, {}}, "ComplexDoubleStorage"},
    TypeName{{"uint16", 2, {}}, ""},
    TypeName{{"uint32", 4, {}}, ""},
    TypeName{{"uint64", 8, {}}, ""},
    TypeName{{"float8_e4m3fn", 1, {}}, ""},
    TypeName{{"float8_e5m2", 1, {}}, ""},
};
constexpr std::size_t kMaxRank = 16;
constexpr ElementType kBytes{"bytes", 1, DType::kUInt8};

enum class Role : std::int64_t {
  kRebuildTensor,      // (storage, offset, size, stride, ...)
  kRebuildTensorV3,    // the same with the element type as the seventh argument
  kRebuildParameter,   // (tensor, ...)
  kRebuildFromType,    // (function, type, arguments, state)
  kVariable,           // (tensor,): parameters and variables before PyTorch 0.4; anything else is opaque
  kDictionary,         // ([pairs])
  kTuple,              // (tuple,): torch.Size
  kOpaque,             // anything; what it makes is ignored
  kElementTypes = 100  // + 2 * index into kTypes; + 1 for the storage class
};

struct GlobalName {
  std::string_view module, name;
  Role role;
};
constexpr std::array kGlobals = {
    GlobalName{"torch._utils", "_rebuild_tensor", Role::kRebuildTensor},
    GlobalName{"torch._utils", "_rebuild_tensor_v2", Role::kRebuildTensor},
    GlobalName{"torch._utils", "_rebuild_tensor_v3", Role::kRebuildTensorV3},
    GlobalName{"torch._utils", "_rebuild_parameter", Role::kRebuildParameter},
    GlobalName{"torch._utils", "_rebuild_parameter_with_state", Role::kRebuildParameter},
    GlobalName{"torch._tensor", "_rebuild_from_type_v2", Role::kRebuildFromType},
    GlobalName{"torch.nn.parameter", "Parameter", Role::kVariable},
    GlobalName{"torch.autograd.variable", "Variable", Role::kVariable},
    GlobalName{"collections", "OrderedDict", Role::kDictionary},
    GlobalName{"collections", "defaultdict", Role::kDictionary},
    GlobalName{"torch", "Size", Role::kTuple},
    // What training scripts put beside the weights; harmless because nothing is made of it.
    GlobalName{"torch", "device", Role::kOpaque},
    GlobalName{"torch", "Tensor", Role::kOpaque},
    GlobalName{"argparse", "Namespace", Role::kOpaque},
    GlobalName{"collections", "Counter", Role::kOpaque},
    GlobalName{"numpy", "dtype", Role::kOpaque},
    GlobalName{"numpy", "ndarray", Role::kOpaque},
    GlobalName{"numpy.core.multiarray", "scalar", Role::kOpaque},
    GlobalName{"numpy.core.multiarray", "_reconstruct", Role::kOpaque},
    GlobalName{"numpy._core.multiarray", "scalar", Role::kOpaque},
    GlobalName{"numpy._core.multiarray", "_reconstruct", Role::kOpaque},
    GlobalName{"_codecs", "encode", Role::kOpaque},
    GlobalName{"builtins", "set", Role::kOpaque},
    GlobalName{"builtins", "int", Role::kOpaque},
    GlobalName{"builtins", "list", Role::kOpaque},
    GlobalName{"builtins", "dict", Role::kOpaque},
    GlobalName{"__builtin__", "set", Role::kOpaque},
};

Value named(Role role, std::string_view text, std::int64_t extra = 0) {
  return {Kind::kGlobal, static_cast<std::int64_t>(role) + extra, text, {}};
}

// The element type that a global stands for; nullptr if it is none.
const ElementType* type_of(const Value& value) {
  const std::int64_t first = static_cast<std::int64_t>(Role::kElementTypes);
  if (value.kind != Kind::kGlobal || value.number < first) return nullptr;
  const std::size_t index = static_cast<std::size_t>(value.number - first) / 2;
  return index < kTypes.size() ? &kTypes[index].type : &kBytes;
}

bool is_int(const Value* value) { return value->kind == Kind::kInt; }

}  // namespace

const char* name_of(Kind kind) noexcept {
  constexpr std::array kNames = {"None",   "a bool",       "an integer", "text",      "bytes",    "a tuple",
                                 "a list", "a dictionary", "a class",    "a storage", "a tensor", "another object"};
  return kNames[static_cast<std::size_t>(kind)];
}

Value TorchObjects::global(std::string_view module, std::string_view name) const {
  for (const GlobalName& known : kGlobals)
    if (known.module == module && known.name == name) return named(known.role, known.name);
  for (std::size_t i = 0; i < kTypes.size(); ++i) {
    const std::int64_t index = 2 * static_cast<std::int64_t>(i);
    if (module == "torch" && name == kTypes[i].type.name) return named(Role::kElementTypes, name, index);
    if (module == "torch" && !name.empty() && name == kTypes[i].storage_class)
      return named(Role::kElementTypes, name, index + 1);
  }
  if ((module == "torch.storage" || module == "torch") && name == "UntypedStorage")
    return named(Role::kElementTypes, name, 2 * static_cast<std::int64_t>(kTypes.size()));
  refuse_(
      "the pickle asks for '" + Refusal::printable(module) + "." + Refusal::printable(name) +
          "', which tensors do not need; nothing was executed",
      "If you trust the file, load it with PyTorch and save only its weights: torch.save(model.state_dict(), PATH).");
}

Value TorchObjects::call(const Value& function, const Value& arguments) {
  if (arguments.kind != Kind::kTuple) refuse_("the pickle calls something without a tuple of arguments");
  if (function.kind != Kind::kGlobal) refuse_(std::string("the pickle calls ") + name_of(function.kind));
  switch (static_cast<Role>(function.number)) {
    case Role::kRebuildTensor:
      return rebuild_tensor(arguments, nullptr);
    case Role::kRebuildTensorV3:
      if (arguments.items.size() < 7 || type_of(*arguments.items[6]) == nullptr)
        refuse_("a tensor has no element type");
      return rebuild_tensor(arguments, type_of(*arguments.items[6]));
    case Role::kRebuildParameter:
      return rebuild_parameter(arguments);
    case Role::kRebuildFromType:
      return rebuild_typed(arguments);
    case Role::kVariable:
      if (!arguments.items.empty() && arguments.items[0]->kind == Kind::kTensor) return *arguments.items[0];
      return {Kind::kOpaque, 0, function.text, {}};
    case Role::kDictionary:
      return dictionary(arguments);
    case Role::kTuple:
      if (arguments.items.size() != 1 || arguments.items[0]->kind != Kind::kTuple)
        refuse_("torch.Size is called without a tuple");
      return *arguments.items[0];
    case Role::kOpaque:
      return {Kind::kOpaque, 0, function.text, {}};
    case Role::kElementTypes:
      break;
  }
  refuse_("the pickle calls the element type '" + Refusal::printable(function.text) + "'");
}

void TorchObjects::build(const Value& target) const {
  if (target.kind != Kind::kDict && target.kind != Kind::kTensor && target.kind != Kind::kOpaque)
    refuse_(std::string("the pickle sets attributes of ") + name_of(target.kind));
}

Value TorchObjects::rebuild_tensor(const Value& arguments, const ElementType* type) {
  const auto& items = arguments.items;
  if (items.size() < 4 || items[0]->kind != Kind::kStorage || !is_int(items[1]) || items[2]->kind != Kind::kTuple ||
      items[3]->kind != Kind::kTuple)
    refuse_("a tensor is rebuilt from the wrong arguments");
  if (tensors_.size() >= max_tensors_) refuse_("more than " + std::to_string(max_tensors_) + " tensors");
  if (items[2]->items.size() > kMaxRank) refuse_("a tensor has more than " + std::to_string(kMaxRank) + " dimensions");
  TensorRef tensor;
  tensor.storage = static_cast<std::size_t>(items[0]->number);
  tensor.type = type != nullptr ? type : storages_[tensor.storage].type;
  tensor.offset = items[1]->number;
  for (const Value* dim : items[2]->items) {
    if (!is_int(dim)) refuse_("a tensor has a dimension that is not an integer");
    tensor.shape.push_back(dim->number);
  }
  for (const Value* stride : items[3]->items) {
    if (!is_int(stride)) refuse_("a tensor has a stride that is not an integer");
    tensor.strides.push_back(stride->number);
  }
  tensors_.push_back(std::move(tensor));
  return {Kind::kTensor, static_cast<std::int64_t>(tensors_.size() - 1), {}, {}};
}

Value TorchObjects::rebuild_parameter(const Value& arguments) const {
  if (arguments.items.empty() || arguments.items[0]->kind != Kind::kTensor)
    refuse_("a parameter is rebuilt from something that is not a tensor");
  return *arguments.items[0];
}

Value TorchObjects::rebuild_typed(const Value& arguments) {
  const auto& items = arguments.items;
  const bool nested = items.size() >= 3 && items[0]->kind == Kind::kGlobal && items[2]->kind == Kind::kTuple &&
                      items[0]->number <= static_cast<std::int64_t>(Role::kRebuildParameter);
  if (!nested) refuse_("a tensor subclass is rebuilt from the wrong arguments");
  return call(*items[0], *items[2]);
}

Value TorchObjects::dictionary(const Value& arguments) const {
  Value dict{Kind::kDict, 0, {}, {}};
  if (arguments.items.empty() || arguments.items[0]->kind != Kind::kList) return dict;  // defaultdict(list)
  for (const Value* pair : arguments.items[0]->items) {
    if ((pair->kind != Kind::kList && pair->kind != Kind::kTuple) || pair->items.size() != 2)
      refuse_("a dictionary is made of something that is not pairs");
    dict.items.insert(dict.items.end(), pair->items.begin(), pair->items.end());
  }
  return dict;
}

Value TorchObjects::persistent(const Value& id) {
  const auto& items = id.items;
  if (id.kind == Kind::kTuple && !items.empty() && items[0]->is_text("module"))
    refuse_("the file holds a whole pickled model, not its weights",
            "Load it with PyTorch and save its weights: torch.save(model.state_dict(), PATH).");
  if (id.kind != Kind::kTuple || items.size() < 5 || !items[0]->is_text("storage") || type_of(*items[1]) == nullptr ||
      items[2]->kind != Kind::kText || !is_int(items[4]))
    refuse_("a storage is referred to in an unknown way");
  if (storages_.size() >= max_tensors_) refuse_("more than " + std::to_string(max_tensors_) + " storages");
  StorageRef storage;
  storage.key = items[2]->text;
  storage.type = type_of(*items[1]);
  storage.count = items[4]->number;
  if (storage.count < 0) refuse_("storage '" + Refusal::printable(storage.key) + "' has a negative size");
  if (items.size() > 5) read_view(*items[5], storage);
  storages_.push_back(storage);
  return {Kind::kStorage, static_cast<std::int64_t>(storages_.size() - 1), {}, {}};
}

void TorchObjects::read_view(const Value& view, StorageRef& storage) const {
  if (view.kind == Kind::kNone) return;
  const auto& items = view.items;
  if (view.kind != Kind::kTuple || items.size() != 3 || !is_int(items[1]) || !is_int(items[2]))
    refuse_("a storage view is described in an unknown way");
  storage.view_offset = items[1]->number;
  storage.view_count = items[2]->number;
  const bool inside = storage.view_offset >= 0 && storage.view_count >= 0 && storage.view_offset <= storage.count &&
                      storage.view_count <= storage.count - storage.view_offset;
  if (!inside) refuse_("a view of storage '" + Refusal::printable(storage.key) + "' lies outside it");
}

}  // namespace ferry
