// Pictures on their way into a network on a GPU: pinned memory for their pixels, and the kernels that prepare them.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda_pictures/plan.h"
#include "cuda_support/memory.h"
#include "cuda_support/stream.h"

namespace ferry::pictures {

/// Not compiled where ferry was built without nvcc.
cuda::KernelImage kernels();

/// Of one session; the context that it was made in must be current.
class Preparer {
 public:
  explicit Preparer(const Input& input, const cuda::KernelImage& image = kernels());

  /// At least `size` bytes. Pointers stay valid until a larger size is asked for.
  void* staging(std::uint64_t size);
  std::uint64_t staging_bytes() const noexcept { return staging_bytes_; }
  /// Enqueues the copy and the kernels; `out` is the network's input on the device. What `args` points to is read
  /// before this returns, the staging memory until the stream has got there. `refusal` must be empty.
  void enqueue(const ferry_images_args& args, void* out, const cuda::Stream& stream) {
    upload(args, stream);
    prepare(args, out, stream);
  }
  /// The two halves of it: pixels and tables to the device, and the kernels over what is there (`tile` as in plan_for).
  void upload(const ferry_images_args& args, const cuda::Stream& stream);
  void prepare(const ferry_images_args& args, void* out, const cuda::Stream& stream, int tile = 0);
  const Input& input() const noexcept { return input_; }

 private:
  void upload_tables(const ferry_images_args& args, const cuda::Stream& stream);

  Input input_;
  cuda::Kernels kernels_;
  std::uint64_t staging_bytes_ = 0;
  cuda::PinnedBuffer pixels_, small_;  // `small_`: the values, then the pictures' descriptions
  cuda::DeviceBuffer device_pixels_, device_small_, axes_;
  std::vector<float> mean_and_std_;  // that the values were made for
  bool line_ = false;                // of these values
};

}  // namespace ferry::pictures
