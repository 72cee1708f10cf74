#include "cuda_support/memory.h"

#include <functional>
#include <string>
#include <utility>

#include "cuda_support/context.h"
#include "cuda_support/driver.h"
#include "cuda_support/error.h"

namespace ferry::cuda {
namespace {

CUcontext current_context() {
  CUcontext context = nullptr;
  check(driver().cuCtxGetCurrent(&context), "cuCtxGetCurrent");
  return context;
}

// Runs `release` with `context` current; a destructor must neither throw nor depend on its caller's context.
void in_context(CUcontext context, CUresult (*release)(const Driver&, void*), void* address,
                const char* call) noexcept {
  const Driver* api = driver_if_loaded();
  const CUresult pushed = api->cuCtxPushCurrent_v2(context);
  if (pushed != CUDA_SUCCESS) return check_in_destructor(pushed, "cuCtxPushCurrent");
  check_in_destructor(release(*api, address), call);
  CUcontext popped = nullptr;
  check_in_destructor(api->cuCtxPopCurrent_v2(&popped), "cuCtxPopCurrent");
}

std::string bytes(std::size_t size) { return std::to_string(size) + " bytes"; }

CUdeviceptr address_of(const void* device) { return reinterpret_cast<CUdeviceptr>(device); }

}  // namespace

DeviceBuffer::DeviceBuffer(std::size_t size) {
  if (size == 0) return;
  context_ = current_context();
  CUdeviceptr address = 0;
  check(driver().cuMemAlloc_v2(&address, size), "cuMemAlloc", bytes(size));
  address_ = address;
  size_ = size;
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  if (this == &other) return *this;
  free();
  address_ = std::exchange(other.address_, 0);
  size_ = std::exchange(other.size_, 0);
  context_ = std::exchange(other.context_, nullptr);
  return *this;
}

DeviceBuffer::~DeviceBuffer() { free(); }

void DeviceBuffer::free() noexcept {
  if (address_ == 0) return;
  const auto release = [](const Driver& api, void* address) { return api.cuMemFree_v2(address_of(address)); };
  in_context(context_, release, data(), "cuMemFree");
  address_ = 0;
  size_ = 0;
}

PinnedBuffer::PinnedBuffer(std::size_t size) {
  if (size == 0) return;
  context_ = current_context();
  check(driver().cuMemHostAlloc(&address_, size, 0), "cuMemHostAlloc", bytes(size));
  size_ = size;
}

PinnedBuffer::PinnedBuffer(PinnedBuffer&& other) noexcept { *this = std::move(other); }

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  if (this == &other) return *this;
  free();
  address_ = std::exchange(other.address_, nullptr);
  size_ = std::exchange(other.size_, 0);
  context_ = std::exchange(other.context_, nullptr);
  return *this;
}

PinnedBuffer::~PinnedBuffer() { free(); }

void PinnedBuffer::free() noexcept {
  if (address_ == nullptr) return;
  const auto release = [](const Driver& api, void* address) { return api.cuMemFreeHost(address); };
  in_context(context_, release, address_, "cuMemFreeHost");
  address_ = nullptr;
  size_ = 0;
}

bool PinnedBuffer::contains(const void* pointer) const noexcept {
  const auto* begin = static_cast<const std::byte*>(address_);
  const auto* byte = static_cast<const std::byte*>(pointer);
  // std::less orders pointers of different objects too.
  return begin != nullptr && !std::less<>{}(byte, begin) && std::less<>{}(byte, begin + size_);
}

void copy_to_device(void* device, const void* host, std::size_t size, CUstream_st* stream) {
  check(driver().cuMemcpyHtoDAsync_v2(address_of(device), host, size, stream), "cuMemcpyHtoDAsync");
}

void copy_to_host(void* host, const void* device, std::size_t size, CUstream_st* stream) {
  check(driver().cuMemcpyDtoHAsync_v2(host, address_of(device), size, stream), "cuMemcpyDtoHAsync");
}

void fill_bytes(void* device, unsigned char byte, std::size_t size, CUstream_st* stream) {
  check(driver().cuMemsetD8Async(address_of(device), byte, size, stream), "cuMemsetD8Async");
}

}  // namespace ferry::cuda
