#include "cuda_pictures/preparer.h"

#include <cstring>

namespace ferry::cuda {
KernelImage kernels_pictures();
}

namespace ferry::pictures {
namespace {

constexpr std::size_t kValuesBytes = (kValueWords + 1) / 2 * 2 * sizeof(std::uint32_t);  // descriptions follow

template <class Buffer>
void grow(Buffer& buffer, std::size_t size) {
  if (buffer.size() >= size) return;
  buffer = Buffer();  // freed before the larger one is asked for
  buffer = Buffer(size);
}

}  // namespace

cuda::KernelImage kernels() { return cuda::kernels_pictures(); }

Preparer::Preparer(const Input& input, const cuda::KernelImage& image) : input_(input), kernels_(image) {}

void* Preparer::staging(std::uint64_t size) {
  grow(pixels_, static_cast<std::size_t>(size));
  grow(device_pixels_, pixels_.size() + kSlack);
  staging_bytes_ = pixels_.size();
  return pixels_.data();
}

// Descriptions change with each request, the values hardly ever. Nothing of an earlier request is in flight.
void Preparer::upload_tables(const ferry_images_args& args, const cuda::Stream& stream) {
  const std::size_t size = sizeof(ferry_image) * static_cast<std::size_t>(args.batch);
  std::vector<float> now(args.mean, args.mean + 3);
  now.insert(now.end(), args.std, args.std + 3);
  if (small_.size() < kValuesBytes + size || now != mean_and_std_) {
    grow(small_, kValuesBytes + size);
    grow(device_small_, small_.size());
    const Values values = values_for(input_, args.mean, args.std);
    std::memcpy(small_.data(), values.words.data(), values.words.size() * sizeof(std::uint32_t));
    line_ = values.line;
    mean_and_std_ = std::move(now);
  }
  std::memcpy(static_cast<char*>(small_.data()) + kValuesBytes, args.images, size);
  cuda::copy_to_device(device_small_.data(), small_.data(), kValuesBytes + size, stream.handle());
}

void Preparer::upload(const ferry_images_args& args, const cuda::Stream& stream) {
  cuda::copy_to_device(device_pixels_.data(), pixels_.data(), static_cast<std::size_t>(args.used), stream.handle());
  upload_tables(args, stream);
}

void Preparer::prepare(const ferry_images_args& args, void* out, const cuda::Stream& stream, int tile) {
  Plan plan = plan_for(args, input_, line_, tile);
  Job& job = plan.job;
  grow(axes_, axes_bytes(job));
  job.pixels = static_cast<const std::uint8_t*>(device_pixels_.data());
  job.values = static_cast<const std::uint32_t*>(device_small_.data());
  job.images = reinterpret_cast<const ferry_image*>(static_cast<const char*>(device_small_.data()) + kValuesBytes);
  job.axes = static_cast<std::uint32_t*>(axes_.data());
  job.out = out;
  void* arguments[] = {&job};
  cuda::launch(kernels_.function("ferry_weigh"), plan.weigh, arguments, stream.handle());
  cuda::launch(kernels_.function(plan.kernel.c_str()), plan.prepare, arguments, stream.handle());
}

}  // namespace ferry::pictures
