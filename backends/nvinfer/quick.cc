#include "nvinfer/quick.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "cuda_support/error.h"
#include "nvinfer/failure.h"

namespace ferry::cuda {
KernelImage kernels_quick();
}

namespace ferry::nvinfer {
namespace {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t) &&
              std::atomic<std::uint32_t>::is_always_lock_free);

std::uint32_t seen(const std::uint32_t& flag) {
  return std::atomic_ref<std::uint32_t>(const_cast<std::uint32_t&>(flag)).load(std::memory_order_acquire);
}

double milliseconds(std::uint64_t from, std::uint64_t to) {
  return to > from ? static_cast<double>(to - from) * 1e-6 : 0;
}

}  // namespace

bool fits_quick(const std::vector<Port>& inputs, const std::vector<Port>& outputs, std::int64_t batch) {
  const auto images = static_cast<std::size_t>(batch);
  if (inputs.size() != 1 || outputs.empty() || outputs.size() > kMostQuickOutputs) return false;
  std::size_t out = 0;
  for (const Port& port : outputs) out += port.row_bytes * images;
  const std::size_t in = inputs.front().row_bytes * images;
  return in > 0 && in <= kMostQuickInput && out > 0 && out <= kMostQuickOutput;
}

std::size_t quick_chunk(std::size_t bytes) {
  constexpr std::size_t kPieces = 16;
  const std::size_t blocks = (bytes + kFetchBlock - 1) / kFetchBlock;
  return std::max<std::size_t>((blocks + kPieces - 1) / kPieces, 1) * kFetchBlock;
}

std::unique_ptr<Quick> Quick::make() {
  const cuda::KernelImage image = cuda::kernels_quick();
  if (!image.compiled()) return nullptr;
  try {
    return std::unique_ptr<Quick>(new Quick(cuda::Kernels(image)));
  } catch (const cuda::Error& error) {
    if (error.sticky()) throw;
    return nullptr;
  }
}

Quick::Quick(cuda::Kernels kernels) : kernels_(std::move(kernels)) {
  const cuda::Stream stream;
  cuda::fill_bytes(stamps_.data(), 0, stamps_.size(), stream.handle());
  stream.synchronize();
  arm();
}

void Quick::arm() noexcept {
  std::memset(control_.data(), 0, sizeof(QuickControl));
  std::atomic_thread_fence(std::memory_order_seq_cst);  // before the launch, which may be seen by another thread
}

bool Quick::await(const cuda::Stream& stream) const {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kSpin{20};  // no small request takes so long: something may be wrong
  constexpr int kLooks = 64;                      // between two looks at the clock
  const Clock::time_point until = Clock::now() + kSpin;
  for (bool waited = false; seen(control().answered) == 0;) {
    if (waited) throw Failure("", "the device ended a request without an answer", "open the engine with quick off");
    for (int i = 0; i < kLooks && seen(control().answered) == 0; ++i) __builtin_ia32_pause();
    if (Clock::now() < until) continue;
    stream.synchronize();  // throws what went wrong on the device
    waited = true;
  }
  return seen(control().late) == 0;
}

Quick::Times Quick::times() const noexcept {
  const QuickControl& c = control();
  return {milliseconds(c.begun, c.fetched), milliseconds(c.fetched, c.computed), milliseconds(c.computed, c.ended)};
}

void Quick::enqueue(Held<FetchJob>& fetch, const cuda::Stream& stream) {
  fetch.job.control = &control();
  fetch.job.stamps = static_cast<QuickStamps*>(stamps_.data());
  cuda::Launch how;
  how.grid[0] = static_cast<unsigned>((fetch.job.bytes + kFetchBlock - 1) / kFetchBlock);
  how.block[0] = kFetchThreads;
  cuda::launch(kernels_.function("ferry_fetch"), how, fetch.arguments, stream.handle());
}

void Quick::enqueue(Held<AnswerJob>& answer, const cuda::Stream& stream) {
  answer.job.control = &control();
  answer.job.stamps = static_cast<QuickStamps*>(stamps_.data());
  cuda::Launch how;
  how.block[0] = kAnswerThreads;
  cuda::launch(kernels_.function("ferry_answer"), how, answer.arguments, stream.handle());
}

}  // namespace ferry::nvinfer
