#include "ferry/checkpoint.h"

#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <unordered_map>

#include "checkpoint/contents.h"
#include "checkpoint/mapped_file.h"
#include "checkpoint/zip.h"

namespace ferry {
namespace {

// Says what a file that is no checkpoint looks like: the usual accidents have usual remedies.
[[noreturn]] void refuse_unknown(std::string_view file, const Refusal& refuse) {
  if (file.empty()) refuse("the file is empty", "Copy or download it again.");
  if (file.starts_with("version https://git-lfs"))
    refuse("the file is a Git LFS pointer, not the checkpoint itself", "Run 'git lfs pull'.");
  if (file.starts_with("<!DOCTYPE") || file.starts_with("<html") || file.starts_with("<?xml"))
    refuse("the file is a web page, probably an error page of a download", "Download it again.");
  if (file.size() > 262 && file.substr(257, 5) == "ustar")
    refuse("a tar archive: the format of PyTorch before 0.1.10 is not supported",
           "Load and save it with PyTorch 1.6 or newer: torch.save(torch.load(PATH), NEW_PATH).");
  if (file.substr(0, 1) == "\x80")
    refuse("a pickle, but not one that torch.save wrote",
           "Save the weights with torch.save(model.state_dict(), PATH).");
  refuse("neither a torch checkpoint nor a safetensors file");
}

Contents read_contents(std::string_view file, const Refusal& refuse, const CheckpointLimits& limits) {
  try {
    if (ZipArchive::looks_like_zip(file)) return read_torch_zip(file, refuse, limits);
    if (looks_like_torch_legacy(file)) return read_torch_legacy(file, refuse, limits);
    if (looks_like_safetensors(file)) return read_safetensors(file, refuse, limits);
  } catch (const std::bad_alloc&) {
    refuse("reading it needs more memory than there is");
  } catch (const std::length_error&) {
    refuse("reading it needs more memory than there is");
  }
  refuse_unknown(file, refuse);
}

// Copies dimension `dim` and those below it; returns where the next element goes.
std::byte* gather(const CheckpointTensor& tensor, std::size_t dim, const std::byte* from, std::byte* to) {
  const std::size_t size = size_of(tensor.dtype);
  if (dim == tensor.shape.size()) {
    std::memcpy(to, from, size);
    return to + size;
  }
  const std::size_t step = static_cast<std::size_t>(tensor.strides[dim]) * size;
  for (std::int64_t i = 0; i < tensor.shape[dim]; ++i) to = gather(tensor, dim + 1, from + step * i, to);
  return to;
}

}  // namespace

const char* name_of(CheckpointFormat format) noexcept {
  switch (format) {
    case CheckpointFormat::kTorchZip:
      return "torch zip";
    case CheckpointFormat::kTorchLegacy:
      return "torch legacy";
    case CheckpointFormat::kSafetensors:
      return "safetensors";
  }
  return "?";
}

bool CheckpointTensor::dense() const noexcept {
  std::int64_t expected = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

struct Checkpoint::Impl {
  Impl(MappedFile mapped, std::string name, const CheckpointLimits& limits)
      : file(std::move(mapped)), path(std::move(name)), contents(read_contents(file.bytes(), Refusal(path), limits)) {
    for (const CheckpointTensor& tensor : contents.tensors) by_name.emplace(tensor.name, &tensor);
  }
  MappedFile file;
  std::string path;
  Contents contents;
  std::unordered_map<std::string_view, const CheckpointTensor*> by_name;
};

Checkpoint Checkpoint::open(const std::string& path, const CheckpointLimits& limits) {
  return Checkpoint(std::make_unique<Impl>(MappedFile(path), path, limits));
}

Checkpoint Checkpoint::from_bytes(std::string_view bytes, const std::string& name, const CheckpointLimits& limits) {
  return Checkpoint(std::make_unique<Impl>(MappedFile::of_bytes(std::string(bytes)), name, limits));
}

Checkpoint::Checkpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

CheckpointFormat Checkpoint::format() const noexcept { return impl_->contents.format; }
const std::string& Checkpoint::path() const noexcept { return impl_->path; }
const std::vector<CheckpointTensor>& Checkpoint::tensors() const noexcept { return impl_->contents.tensors; }
const std::vector<std::string>& Checkpoint::notes() const noexcept { return impl_->contents.notes; }
std::size_t Checkpoint::file_bytes() const noexcept { return impl_->file.bytes().size(); }

std::size_t Checkpoint::verify() const {
  if (format() != CheckpointFormat::kTorchZip) return 0;
  const ZipArchive zip(impl_->file.bytes(), Refusal(path()), std::numeric_limits<std::size_t>::max());
  for (const ZipEntry& entry : zip.entries()) {
    if (entry.method != 0) continue;  // checked when it was decompressed, or not used
    const std::string_view content = zip.stored(entry);
    zip.check_crc(entry, content);
    impl_->file.forget(content.data(), content.size());
  }
  return zip.entries().size();
}

const CheckpointTensor* Checkpoint::find(std::string_view name) const noexcept {
  const auto found = impl_->by_name.find(name);
  return found == impl_->by_name.end() ? nullptr : found->second;
}

Tensor Checkpoint::load(const CheckpointTensor& tensor) const { return load(tensor, tensor.dtype); }

Tensor Checkpoint::load(const CheckpointTensor& tensor, DType dtype) const {
  if (!tensor.dense()) {
    Tensor gathered(tensor.dtype, tensor.shape);
    gather(tensor, 0, tensor.data, gathered.data());
    return dtype == tensor.dtype ? std::move(gathered) : convert(gathered.view(), dtype);
  }
  const TensorView view{tensor.dtype, tensor.shape, tensor.data};
  Tensor copy = convert(view, dtype);
  impl_->file.forget(tensor.data, view.size_bytes());
  return copy;
}

}  // namespace ferry
