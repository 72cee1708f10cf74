#include "nvinfer/upload.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "cuda_support/memory.h"

namespace ferry::nvinfer {
namespace {

constexpr std::size_t kKilobyte = 1024, kMegabyte = 1024 * kKilobyte;
constexpr std::size_t kShared = 2 * kMegabyte;   // from this size on, waking helpers pays
constexpr std::size_t kSmall = 256 * kKilobyte;  // from this size on, helpers that are awake pay
constexpr std::size_t kPiece = 256 * kKilobyte;  // the least that is sent over the bus while more is to come
constexpr std::size_t kMostAlone = 4 * kMegabyte;
constexpr std::size_t kClosed = 0xFFFFFFFF;  // as the next chunk: there is no job
constexpr int kMostThreads = 8, kStayAwake = 7;
constexpr std::chrono::milliseconds kAwake{3}, kCloselyBy{3};  // a request of 32 pictures takes so long

// Looking again at once would take a shared core from its other thread, asking the system each time its scheduler's
// lock.
void pause_a_little() {
  for (int i = 0; i < 4; ++i) __builtin_ia32_pause();
}

// Of all sessions together: a core that waits for work of one is not there for another.
std::atomic<int> awake_everywhere{0};
int most_awake() { return std::max(2, static_cast<int>(std::thread::hardware_concurrency()) / 2 - 1); }

int default_threads() { return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 2, 1, kMostThreads); }

std::uint32_t generation_of(std::uint64_t ticket) { return static_cast<std::uint32_t>(ticket >> 32); }
std::size_t chunk_of(std::uint64_t ticket) { return static_cast<std::uint32_t>(ticket); }
std::uint64_t ticket_for(std::uint32_t generation, std::size_t chunk) {
  return std::uint64_t{generation} << 32 | static_cast<std::uint32_t>(chunk);
}

std::size_t chunks_in(std::size_t size, std::size_t chunk) { return (size + chunk - 1) / chunk; }
// A picture is shared in eight parts, whatever is large in parts of a megabyte.
std::size_t chunk_for(std::size_t size) {
  return size >= 8 * kMegabyte ? kMegabyte : std::max(64 * kKilobyte, (size / 8 + 4095) / 4096 * 4096);
}

// For the device: also stores that went around the caches come before it.
void raise(std::atomic<std::uint32_t>& flag) {
  __builtin_ia32_sfence();
  flag.store(1, std::memory_order_release);
}

bool overlap(const std::byte* a, const std::byte* b, std::size_t size) {
  const std::less<> before;
  return before(a, b + size) && before(b, a + size);
}

std::byte* at(void* memory, std::size_t offset) { return static_cast<std::byte*>(memory) + offset; }

// One thread: a piece crosses the bus while the next one is copied.
void alone(void* device, void* staged, const void* from, std::size_t size, const cuda::Stream& stream) {
  const std::size_t piece = std::clamp(size / 16, kPiece, kMostAlone);
  for (std::size_t offset = 0; offset < size; offset += piece) {
    const std::size_t length = std::min(piece, size - offset);
    std::memmove(at(staged, offset), static_cast<const std::byte*>(from) + offset, length);
    cuda::copy_to_device(at(device, offset), at(staged, offset), length, stream.handle());
  }
}

}  // namespace

// Ends a job whatever happened: no chunk is handed out any more, and those handed out are finished.
class Uploader::Closer {
 public:
  Closer(Uploader& uploader, std::uint32_t generation) : uploader_(uploader), generation_(generation) {}
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;
  ~Closer() {
    // Not "all chunks are taken": a helper that comes late would hold that against the size of the next job.
    const std::uint64_t last = uploader_.ticket_.exchange(ticket_for(generation_, kClosed), std::memory_order_acq_rel);
    for (std::size_t chunk = 0; chunk < chunk_of(last); ++chunk) uploader_.wait_for(chunk, generation_);
  }

 private:
  Uploader& uploader_;
  std::uint32_t generation_;
};

Uploader::Uploader(int threads, bool eager)
    : threads_(threads > 0 ? threads : default_threads()), eager_(eager), ticket_(ticket_for(0, kClosed)) {}

Uploader::~Uploader() {
  stop_.store(true);
  signal_.fetch_add(1);
  signal_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void Uploader::start_helpers() {
  if (!helpers_.empty() || threads_ < 2) return;
  helpers_.reserve(static_cast<std::size_t>(threads_ - 1));
  for (int i = 1; i < threads_; ++i) {
    helpers_.emplace_back([this, stays_awake = eager_ && i <= kStayAwake] { help(stays_awake); });
  }
}

// Returns when there is a signal after `seen`, which may take until the end of time.
void Uploader::await_signal(std::uint32_t seen, bool stays_awake) {
  if (stays_awake && awake_everywhere.fetch_add(1) < most_awake()) {
    awake_.fetch_add(1);
    const Clock::time_point until = Clock::now() + kAwake;
    while (signal_.load(std::memory_order_acquire) == seen && Clock::now() < until) pause_a_little();
    awake_.fetch_sub(1);
  }
  if (stays_awake) awake_everywhere.fetch_sub(1);
  signal_.wait(seen);
}

void Uploader::help(bool stays_awake) {
  for (std::uint32_t seen = 0;;) {
    await_signal(seen, stays_awake);
    seen = signal_.load();
    if (stop_.load()) return;
    const std::uint32_t generation = generation_of(ticket_.load(std::memory_order_acquire));
    while (copy_one(generation)) continue;
  }
}

// Takes the next chunk of the job and copies it. False: there is none left.
bool Uploader::copy_one(std::uint32_t generation) {
  std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
  for (;;) {
    const std::byte* from = from_.load(std::memory_order_relaxed);
    std::byte* to = to_.load(std::memory_order_relaxed);
    const std::size_t size = size_.load(std::memory_order_relaxed), each = chunk_.load(std::memory_order_relaxed);
    std::atomic<std::uint32_t>* const ready = ready_.load(std::memory_order_relaxed);
    const std::size_t chunk = chunk_of(ticket), offset = chunk * each;
    if (generation_of(ticket) != generation || chunk >= chunks_in(size, each)) return false;
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
    std::memcpy(to + offset, from + offset, std::min(each, size - offset));
    if (ready != nullptr) raise(ready[chunk]);
    done_[chunk].store(generation, std::memory_order_release);
    return true;
  }
}

void Uploader::wait_for(std::size_t chunk, std::uint32_t generation) const noexcept {
  while (done_[chunk].load(std::memory_order_acquire) != generation) std::this_thread::yield();
}

// From here on whoever is awake takes chunks, until a Closer ends it.
std::uint32_t Uploader::open_job(const std::byte* from, std::byte* to, std::size_t size, std::size_t chunk,
                                 std::atomic<std::uint32_t>* ready) {
  const std::size_t count = chunks_in(size, chunk);
  if (capacity_ < count) {
    done_ = std::make_unique<std::atomic<std::uint32_t>[]>(count);
    capacity_ = count;
  }
  from_.store(from, std::memory_order_relaxed);
  to_.store(to, std::memory_order_relaxed);
  size_.store(size, std::memory_order_relaxed);
  chunk_.store(chunk, std::memory_order_relaxed);
  ready_.store(ready, std::memory_order_relaxed);
  const std::uint32_t generation = generation_of(ticket_.load()) + 1;
  ticket_.store(ticket_for(generation, 0), std::memory_order_release);
  signal_.fetch_add(1);
  if (!small_) signal_.notify_all();  // a small copy is for those that are awake
  return generation;
}

void Uploader::together(void* device, const cuda::Stream& stream) {
  const std::uint32_t generation = generation_of(ticket_.load());
  const std::size_t size = size_.load(), each = chunk_.load(), count = chunks_in(size, each);
  const Closer closer(*this, generation);
  bool any_left = true;
  for (std::size_t sent = 0, ready = 0; sent < count;) {
    while (ready < count && done_[ready].load(std::memory_order_acquire) == generation) ++ready;
    if (ready > sent && (!any_left || (ready - sent) * each >= kPiece)) {
      const std::size_t offset = sent * each, length = std::min(ready * each, size) - offset;
      cuda::copy_to_device(at(device, offset), to_.load() + offset, length, stream.handle());
      sent = ready;
    } else if (any_left) {
      any_left = copy_one(generation);
    } else {
      std::this_thread::yield();
    }
  }
}

void Uploader::upload(void* device, void* staged, const void* from, std::size_t size, const cuda::Stream& stream) {
  small_ = false;
  if (from == staged) return cuda::copy_to_device(device, staged, size, stream.handle());
  // Ordinary memory may overlap the staging (a pointer of an earlier `staging`): helpers would copy out of order.
  const auto* begin = static_cast<const std::byte*>(from);
  if (size < kSmall || threads_ < 2 || overlap(begin, at(staged, 0), size))
    return alone(device, staged, from, size, stream);
  small_ = size < kShared;
  if (small_ && awake_.load() == 0) return alone(device, staged, from, size, stream);
  start_helpers();
  open_job(begin, at(staged, 0), size, chunk_for(size), nullptr);
  together(device, stream);
}

void Uploader::share(void* staged, const void* from, std::size_t size, const Chunks& chunks,
                     const std::function<void()>& meanwhile) {
  small_ = false;
  const auto* begin = static_cast<const std::byte*>(from);
  if (from == staged || overlap(begin, at(staged, 0), size)) {
    if (from != staged) std::memmove(staged, from, size);
    for (std::size_t chunk = 0; chunk < chunks_in(size, chunks.bytes); ++chunk) raise(chunks.ready[chunk]);
    return meanwhile();
  }
  small_ = true;
  const std::uint32_t generation = open_job(begin, at(staged, 0), size, chunks.bytes, chunks.ready);
  const Closer closer(*this, generation);
  meanwhile();
  while (copy_one(generation)) continue;
}

void Uploader::expect_another() {
  if (!small_ || !eager_ || threads_ < 2) return;
  const Clock::time_point now = Clock::now();
  const bool closely = now - last_small_ < kCloselyBy;
  last_small_ = now;
  if (!closely || awake_.load() > 0) return;
  start_helpers();
  signal_.fetch_add(1);  // there is no job: they look, and stay awake
  signal_.notify_all();
}

}  // namespace ferry::nvinfer
