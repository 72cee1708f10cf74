// Memory of the device and page-locked memory of the host. Move-only; each frees itself in the context it came from.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUctx_st;
struct CUstream_st;

namespace ferry::cuda {

class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::size_t size);  // throws Error; a size of 0 allocates nothing
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  ~DeviceBuffer();

  void* data() const noexcept { return reinterpret_cast<void*>(address_); }
  std::size_t size() const noexcept { return size_; }

 private:
  void free() noexcept;
  std::uint64_t address_ = 0;
  std::size_t size_ = 0;
  CUctx_st* context_ = nullptr;
};

class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(std::size_t size);  // throws Error; a size of 0 allocates nothing
  PinnedBuffer(PinnedBuffer&& other) noexcept;
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;
  ~PinnedBuffer();

  void* data() const noexcept { return address_; }
  std::size_t size() const noexcept { return size_; }
  bool contains(const void* pointer) const noexcept;

 private:
  void free() noexcept;
  void* address_ = nullptr;
  std::size_t size_ = 0;
  CUctx_st* context_ = nullptr;
};

/// Copies enqueued on a stream; the host side should be pinned. Throw Error.
void copy_to_device(void* device, const void* host, std::size_t size, CUstream_st* stream);
void copy_to_host(void* host, const void* device, std::size_t size, CUstream_st* stream);
/// Sets each byte: 0xFF makes every float16 and float32 a NaN.
void fill_bytes(void* device, unsigned char byte, std::size_t size, CUstream_st* stream);

}  // namespace ferry::cuda
