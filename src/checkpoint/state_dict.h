// From an unpickled object to named tensors: finding the state_dict in it, and placing each tensor in its storage.
#pragma once

#include <functional>
#include <string_view>

#include "checkpoint/contents.h"
#include "checkpoint/torch_objects.h"
#include "checkpoint/value.h"

namespace ferry {

/// The dictionary that holds the tensors: `root` itself or what is under "state_dict", "model_state_dict", "model", ...
/// in it, at most `max_depth` deep. Notes what was taken and what was left out.
const Value& find_state_dict(const Value& root, int max_depth, Contents& contents, const Refusal& refuse);

/// Bytes of a whole storage; the same for the same key each time. Refuses a key that is not there.
using FindStorage = std::function<std::string_view(const StorageRef&)>;

/// Adds every tensor of `dict` to `contents`, in order, then strips prefixes and checks the whole.
void place_tensors(const Value& dict, const TorchObjects& objects, const FindStorage& find,
                   const CheckpointLimits& limits, Contents& contents, const Refusal& refuse);

}  // namespace ferry
