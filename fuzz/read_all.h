// What each fuzzer does with a checkpoint that opened: everything a user of it could.
#pragma once

#include <cstdint>
#include <string_view>

#include "ferry/checkpoint.h"
#include "ferry/error.h"
#include "ferry/resnet.h"

namespace ferry {

/// Small limits: the fuzzer looks for reads out of bounds and endless work, not for how much memory there is.
inline CheckpointLimits small_limits() {
  CheckpointLimits limits;
  limits.max_tensors = 1000;
  limits.max_bytes = std::size_t{16} << 20;
  return limits;
}

/// Any ending is right except a crash, a hang, or an exception that is no Error.
inline void read_all(std::string_view bytes) {
  try {
    const Checkpoint checkpoint = Checkpoint::from_bytes(bytes, "fuzz", small_limits());
    for (const CheckpointTensor& tensor : checkpoint.tensors()) checkpoint.load(tensor);
    load_resnet(checkpoint);
  } catch (const Error&) {
  }
}

inline std::string_view view(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace ferry
