#include "checkpoint/state_dict.h"

#include <algorithm>
#include <unordered_map>

namespace ferry {
namespace {

// Where training scripts put the weights, in order of preference.
constexpr std::string_view kWrappers[] = {"state_dict", "model_state_dict", "model_state", "model", "net", "network"};

const Value* dict_under(const Value& dict, std::string_view key) {
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2)
    if (dict.items[i]->is_text(key) && dict.items[i + 1]->kind == Kind::kDict) return dict.items[i + 1];
  return nullptr;
}

std::string quoted(std::string_view text) { return "'" + Refusal::printable(text) + "'"; }

// "left out 'epoch', 'optimizer'": the keys for which `skipped` holds.
template <class Predicate>
void note_left_out(const Value& dict, Contents& contents, Predicate skipped) {
  constexpr std::size_t kShown = 8;
  std::string list;
  std::size_t count = 0;
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    if (!skipped(*dict.items[i], *dict.items[i + 1]) || ++count > kShown) continue;
    list += (list.empty() ? "" : ", ") + (dict.items[i]->kind == Kind::kText ? quoted(dict.items[i]->text) : "a key");
  }
  if (count > kShown) list += " and " + std::to_string(count - kShown) + " more";
  if (count > 0) contents.notes.push_back("left out " + list);
}

// Bytes of a storage, as this reference sees it: its window, and no more than the elements it claims.
std::string_view window(const StorageRef& storage, std::string_view bytes, const Refusal& refuse) {
  const std::size_t size = storage.type->size;
  const std::size_t count = static_cast<std::size_t>(storage.count);
  if (count > bytes.size() / size)
    refuse("storage '" + Refusal::printable(storage.key) + "' claims " + std::to_string(count) + " elements of " +
           std::to_string(size) + " bytes, and the file has " + std::to_string(bytes.size()) + " bytes of it");
  bytes = bytes.substr(0, count * size);
  if (storage.view_count < 0) return bytes;
  return bytes.substr(static_cast<std::size_t>(storage.view_offset) * size,
                      static_cast<std::size_t>(storage.view_count) * size);
}

}  // namespace

const Value& find_state_dict(const Value& root, int max_depth, Contents& contents, const Refusal& refuse) {
  const Value* dict = &root;
  for (int depth = 0; depth <= max_depth; ++depth) {
    if (dict->kind != Kind::kDict)
      refuse(std::string("the file holds ") + name_of(dict->kind) + ", not a dictionary of tensors",
             "Save the weights by name: torch.save(model.state_dict(), PATH).");
    const Value* inner = nullptr;
    for (std::string_view key : kWrappers) {
      inner = dict_under(*dict, key);
      if (inner == nullptr) continue;
      contents.notes.push_back("took the entry " + quoted(key));
      note_left_out(*dict, contents, [&](const Value& other, const Value&) { return !other.is_text(key); });
      break;
    }
    if (inner == nullptr) return *dict;
    dict = inner;
  }
  refuse("dictionaries are nested more than " + std::to_string(max_depth) + " deep");
}

void place_tensors(const Value& dict, const TorchObjects& objects, const FindStorage& find,
                   const CheckpointLimits& limits, Contents& contents, const Refusal& refuse) {
  const auto skipped = [](const Value& key, const Value& value) {
    return value.kind != Kind::kTensor || key.kind != Kind::kText;
  };
  std::unordered_map<std::string_view, std::size_t> stored;
  std::size_t stored_bytes = 0;
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    if (skipped(*dict.items[i], *dict.items[i + 1])) continue;
    const std::string_view name = dict.items[i]->text;
    const TensorRef& tensor = objects.tensors()[static_cast<std::size_t>(dict.items[i + 1]->number)];
    const StorageRef& storage = objects.storages()[tensor.storage];
    const Refusal refuse_tensor = refuse.about(name);
    if (!tensor.type->dtype)
      refuse_tensor(std::string("the tensor's element type ") + tensor.type->name + " is not supported");
    const std::string_view bytes = find(storage);
    if (stored.emplace(storage.key, bytes.size()).second) stored_bytes += bytes.size();
    contents.tensors.push_back(place_tensor(name, *tensor.type->dtype, tensor.offset, tensor.shape, tensor.strides,
                                            window(storage, bytes, refuse_tensor), refuse));
  }
  note_left_out(dict, contents, skipped);
  if (stored_bytes > limits.max_bytes) refuse("more than " + std::to_string(limits.max_bytes) + " bytes of tensors");
  strip_prefixes(contents);
  check_contents(contents, stored_bytes, limits, refuse);
}

}  // namespace ferry
