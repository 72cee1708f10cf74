// The legacy torch format (before 1.6): five pickles one after the other (magic number, protocol version, system info,
// the object, the list of storage keys), then for each key its element count as int64 and its elements.
#include <unordered_map>

#include "checkpoint/byte_reader.h"
#include "checkpoint/contents.h"
#include "checkpoint/state_dict.h"
#include "checkpoint/unpickler.h"

namespace ferry {
namespace {

// The end of the first pickle, of 0x1950a86a20f9469cfc6c: LONG1 of ten bytes, STOP. Before it: the protocol, and from
// protocol 4 on a frame.
constexpr std::string_view kMagic("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 13);
constexpr std::size_t kLongestStart = 11;
constexpr std::int64_t kProtocolVersion = 1001;

// Runs one small pickle and steps over it.
template <class Check>
void read_pickle(std::string_view& rest, const Refusal& refuse, Check check) {
  TorchObjects objects(refuse, 0);
  Unpickler unpickler(rest, objects, refuse);
  check(unpickler.run());
  rest.remove_prefix(unpickler.consumed());
}

void check_system(const Value& info, const Refusal& refuse) {
  for (std::size_t i = 0; i + 1 < info.items.size(); i += 2)
    if (info.kind == Kind::kDict && info.items[i]->is_text("little_endian") && info.items[i + 1]->number != 1)
      refuse("the tensors are not little-endian", "Load and save the file with PyTorch on an x86 or ARM machine.");
}

// Where the second pickle begins; 0 if the file is not of this format.
std::size_t after_magic(std::string_view file) noexcept {
  const std::size_t at = file.substr(0, kLongestStart + kMagic.size()).find(kMagic);
  return file.starts_with('\x80') && at != std::string_view::npos ? at + kMagic.size() : 0;
}

using Storages = std::unordered_map<std::string_view, std::string_view>;  // bytes by key

// Element size of each storage that the object refers to: the file itself gives counts only.
std::unordered_map<std::string_view, std::size_t> element_sizes(const TorchObjects& objects, const Refusal& refuse) {
  std::unordered_map<std::string_view, std::size_t> sizes;
  for (const StorageRef& storage : objects.storages())
    if (sizes.emplace(storage.key, storage.type->size).first->second != storage.type->size)
      refuse("storage '" + Refusal::printable(storage.key) + "' is used with two element sizes");
  return sizes;
}

Storages read_storages(std::string_view rest, const Value& keys, const TorchObjects& objects, const Refusal& refuse) {
  const auto sizes = element_sizes(objects, refuse);
  if (keys.kind != Kind::kList) refuse("the list of storages is damaged");
  ByteReader in(rest, refuse);
  Storages storages;
  for (const Value* key : keys.items) {
    const std::string_view name = key->text;
    const auto size = sizes.find(name);
    if (key->kind != Kind::kText || size == sizes.end())
      refuse("the file lists a storage that no tensor uses: its size is not known");
    const std::uint64_t count = in.u64();
    if (count > in.left() / size->second)
      refuse("storage '" + Refusal::printable(name) + "' claims " + std::to_string(count) +
                 " elements; the file ends before that",
             kDamaged);
    if (!storages.emplace(name, in.take(count * size->second)).second)
      refuse("storage '" + Refusal::printable(name) + "' is listed twice");
  }
  return storages;
}

}  // namespace

bool looks_like_torch_legacy(std::string_view file) noexcept { return after_magic(file) != 0; }

Contents read_torch_legacy(std::string_view file, const Refusal& refuse, const CheckpointLimits& limits) {
  std::string_view rest = file.substr(after_magic(file));
  read_pickle(rest, refuse, [&](const Value& version) {
    if (version.kind != Kind::kInt || version.number != kProtocolVersion)
      refuse("the legacy format's version is not " + std::to_string(kProtocolVersion));
  });
  read_pickle(rest, refuse, [&](const Value& info) { check_system(info, refuse); });

  Contents contents;
  contents.format = CheckpointFormat::kTorchLegacy;
  TorchObjects objects(refuse, limits.max_tensors);
  Unpickler unpickler(rest, objects, refuse);
  const Value& dict = find_state_dict(unpickler.run(), limits.max_depth, contents, refuse);
  rest.remove_prefix(unpickler.consumed());

  TorchObjects no_objects(refuse, 0);
  Unpickler key_list(rest, no_objects, refuse);
  const Value& keys = key_list.run();
  rest.remove_prefix(key_list.consumed());
  const Storages storages = read_storages(rest, keys, objects, refuse);

  const auto find = [&](const StorageRef& storage) {
    const auto found = storages.find(storage.key);
    if (found == storages.end()) refuse("the file has no storage '" + Refusal::printable(storage.key) + "'");
    return found->second;
  };
  place_tensors(dict, objects, find, limits, contents, refuse);
  return contents;
}

}  // namespace ferry
