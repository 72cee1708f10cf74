#include "nvinfer/staging.h"

#include <utility>

namespace ferry::nvinfer {
namespace {

std::vector<cuda::PinnedBuffer> allocate(const std::vector<Port>& ports, std::int64_t batch) {
  std::vector<cuda::PinnedBuffer> buffers;
  buffers.reserve(ports.size());
  for (const Port& port : ports) buffers.emplace_back(port.row_bytes * static_cast<std::size_t>(batch));
  return buffers;
}

void move_all(std::vector<cuda::PinnedBuffer>& from, std::vector<cuda::PinnedBuffer>& to) {
  for (cuda::PinnedBuffer& buffer : from) to.push_back(std::move(buffer));
}

}  // namespace

bool Staging::reserve(std::int64_t batch, Asked asked) {
  if (batch <= batch_) return false;
  auto in = allocate(inputs_, batch);
  auto out = allocate(outputs_, batch);
  if (asked == Asked::kByCaller) {
    retired_.clear();
  } else {
    move_all(in_, retired_);
    move_all(out_, retired_);
  }
  in_ = std::move(in);
  out_ = std::move(out);
  batch_ = batch;
  return true;
}

}  // namespace ferry::nvinfer
