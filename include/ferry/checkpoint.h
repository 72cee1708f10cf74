// Reading checkpoints without Python and without executing anything.
//
// Formats: torch zip archives (torch >= 1.6, pickle protocols 2 to 5, zip64), the legacy torch format (before 1.6) and
// safetensors. The pickle reader knows the opcodes and the globals that tensors need and refuses every other one.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ferry/tensor.h"

namespace ferry {

enum class CheckpointFormat { kTorchZip, kTorchLegacy, kSafetensors };
const char* name_of(CheckpointFormat format) noexcept;

/// One named tensor of a checkpoint. `data` points at element 0 inside memory that the Checkpoint owns.
struct CheckpointTensor {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
  std::vector<std::int64_t> strides;  // in elements; row-major unless the file says otherwise (may be 0 or transposed)
  const std::byte* data = nullptr;    // not necessarily aligned for the element type

  /// Row-major without gaps: `data` can be read as it is.
  bool dense() const noexcept;
};

struct CheckpointLimits {
  std::size_t max_tensors = 100'000;
  std::size_t max_bytes = std::size_t{64} << 30;  // of tensor data, counted per storage
  int max_depth = 64;                             // of dictionaries around the state_dict
};

/// An open checkpoint. Uncompressed tensor data stays in the mapped file; the mapping lives as long as this object.
/// Immutable after `open`; safe to read from several threads.
class Checkpoint {
 public:
  /// Recognises the format from the content, not from the name. Throws Error(kCheckpoint) naming the file and, where
  /// there is one, the entry or tensor. Every view handed out lies inside the file (or inside decompressed memory).
  static Checkpoint open(const std::string& path, const CheckpointLimits& limits = {});
  /// The same over bytes in memory, which are copied. `name` stands in messages.
  static Checkpoint from_bytes(std::string_view bytes, const std::string& name, const CheckpointLimits& limits = {});

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  CheckpointFormat format() const noexcept;
  const std::string& path() const noexcept;
  /// Tensors in the file's order, after unwrapping (see `notes`).
  const std::vector<CheckpointTensor>& tensors() const noexcept;
  /// nullptr if there is no tensor of that name.
  const CheckpointTensor* find(std::string_view name) const noexcept;
  /// A dense row-major copy of one of `tensors()`; the second form converts on the way (see `convert` in tensor.h).
  /// The file's pages are given back to the system, so that loading everything does not hold it in memory twice.
  Tensor load(const CheckpointTensor& tensor) const;
  Tensor load(const CheckpointTensor& tensor, DType dtype) const;
  /// Reads everything and compares the checksums, where the format has them (torch zip): `open` does so only for what
  /// it decompresses or interprets, not for tensors. Returns the number of entries compared. Throws Error(kCheckpoint).
  std::size_t verify() const;
  /// Size of the file.
  std::size_t file_bytes() const noexcept;
  /// What was done to get at the tensors, for people: "took the entry 'state_dict'", "removed the prefix 'module.'".
  const std::vector<std::string>& notes() const noexcept;

 private:
  struct Impl;
  explicit Checkpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ferry
