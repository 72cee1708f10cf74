// The torch zip format (torch >= 1.6): <name>/data.pkl, <name>/data/<key> for each storage, <name>/byteorder.
#include <unordered_map>

#include "checkpoint/contents.h"
#include "checkpoint/state_dict.h"
#include "checkpoint/unpickler.h"
#include "checkpoint/zip.h"

namespace ferry {
namespace {

constexpr std::size_t kMaxPickle = std::size_t{256} << 20;

// Reads entries in place where they are stored, and into `owned` where they are deflated, within a budget.
class EntryReader {
 public:
  EntryReader(const ZipArchive& zip, std::size_t budget, std::deque<std::string>& owned, const Refusal& refuse)
      : zip_(zip), budget_(budget), owned_(owned), refuse_(refuse) {}

  std::string_view read(const ZipEntry& entry) {
    if (entry.method == 0) return zip_.stored(entry);
    if (entry.size > budget_) refuse_.about(entry.name)("the entry expands to more than the limit");
    budget_ -= entry.size;
    return owned_.emplace_back(zip_.inflate(entry));
  }

 private:
  const ZipArchive& zip_;
  std::size_t budget_;
  std::deque<std::string>& owned_;
  const Refusal& refuse_;
};

// "<name>/" of the one "<name>/data.pkl".
std::string find_root(const ZipArchive& zip, const Refusal& refuse) {
  constexpr std::string_view kPickle = "data.pkl";
  for (const ZipEntry& entry : zip.entries()) {
    const std::size_t slash = entry.name.find('/');
    if (slash == std::string_view::npos || entry.name.substr(slash + 1) != kPickle) continue;
    const std::string root(entry.name.substr(0, slash + 1));
    if (zip.find(root + "constants.pkl") != nullptr)
      refuse("the file is a TorchScript program, not a checkpoint",
             "Save the weights: torch.save(torch.jit.load(PATH).state_dict(), 'weights.pth').");
    return root;
  }
  refuse("a zip archive without a data.pkl: not written by torch.save");
}

}  // namespace

Contents read_torch_zip(std::string_view file, const Refusal& refuse, const CheckpointLimits& limits) {
  const ZipArchive zip(file, refuse, 2 * limits.max_tensors + 1000);
  const std::string root = find_root(zip, refuse);
  Contents contents;
  contents.format = CheckpointFormat::kTorchZip;
  EntryReader entries(zip, limits.max_bytes, contents.owned, refuse);
  if (const ZipEntry* order = zip.find(root + "byteorder"); order != nullptr && entries.read(*order) != "little")
    refuse("the tensors are not little-endian", "Load and save the file with PyTorch on an x86 or ARM machine.");

  const ZipEntry& entry = *zip.find(root + "data.pkl");
  if (entry.size > kMaxPickle) refuse.about(entry.name)("the pickle is larger than 256 MiB");
  const std::string_view pickle = entries.read(entry);
  zip.check_crc(entry, pickle);
  const Refusal refuse_pickle = refuse.about(entry.name);
  TorchObjects objects(refuse_pickle, limits.max_tensors);
  Unpickler unpickler(pickle, objects, refuse_pickle);
  const Value& dict = find_state_dict(unpickler.run(), limits.max_depth, contents, refuse);

  std::unordered_map<std::string_view, std::string_view> storages;  // by key
  const auto find = [&](const StorageRef& storage) {
    const auto known = storages.find(storage.key);
    if (known != storages.end()) return known->second;
    const ZipEntry* data = zip.find(root + "data/" + std::string(storage.key));
    if (data == nullptr) refuse("the archive has no storage '" + Refusal::printable(storage.key) + "'");
    return storages.emplace(storage.key, entries.read(*data)).first->second;
  };
  place_tensors(dict, objects, find, limits, contents, refuse);
  return contents;
}

}  // namespace ferry
