// The unpickler and what follows it. The pickle of a zip archive is guarded by a checksum, which a fuzzer does not get
// past: here it comes directly, with one storage of 4 KiB for every key.
#include "checkpoint/state_dict.h"
#include "checkpoint/unpickler.h"
#include "read_all.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ferry;
  static const std::string storage(4096, '\1');
  const Refusal refuse("fuzz");
  try {
    TorchObjects objects(refuse, small_limits().max_tensors);
    Unpickler unpickler(view(data, size), objects, refuse);
    Contents contents;
    const Value& dict = find_state_dict(unpickler.run(), 64, contents, refuse);
    place_tensors(
        dict, objects, [](const StorageRef&) -> std::string_view { return storage; }, small_limits(), contents, refuse);
    for (const CheckpointTensor& tensor : contents.tensors) {
      std::int64_t last = 0;  // the last element of every tensor must be inside
      for (std::size_t i = 0; i < tensor.shape.size(); ++i) last += (tensor.shape[i] - 1) * tensor.strides[i];
      if (element_count(tensor.shape) == 0) continue;
      const std::byte* end = tensor.data + static_cast<std::size_t>(last + 1) * size_of(tensor.dtype);
      if (reinterpret_cast<const char*>(tensor.data) < storage.data() ||
          reinterpret_cast<const char*>(end) > storage.data() + storage.size())
        __builtin_trap();
    }
  } catch (const Error&) {
  }
  return 0;
}
