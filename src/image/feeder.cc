#include "image/feeder.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "ferry/error.h"

namespace ferry {

BatchFeeder::BatchFeeder(PictureSource& source, const FeederOptions& options, std::function<FillRow()> make_fill)
    : source_(source), options_(options), ring_(options.buffers) {
  for (Slot& slot : ring_) slot.pictures.resize(options.batch);
  std::size_t threads = options.threads > 0 ? static_cast<std::size_t>(options.threads)
                                            : std::max(1u, std::thread::hardware_concurrency());
  if (source.total() > 0) threads = std::min(threads, static_cast<std::size_t>(source.total()));
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this, make_fill] { work(make_fill); });
}

BatchFeeder::~BatchFeeder() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  threads_.clear();  // joins
}

bool BatchFeeder::take(Picture& picture) {
  const std::lock_guard one_reader(source_mutex_);
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || ended_ || has_room(); });
    if (stopped_ || ended_) return false;
  }
  picture = Picture{};
  const bool got = source_.next(picture);
  const std::lock_guard lock(mutex_);
  if (got) {
    picture.number = next_++;
  } else {
    ended_ = true;
    changed_.notify_all();
  }
  return got;
}

void BatchFeeder::work(const std::function<FillRow()>& make_fill) {
  try {
    const FillRow fill = make_fill();
    for (Picture picture; take(picture);) {
      const std::size_t batch = picture.number / options_.batch;
      try {
        if (picture.error.empty()) fill(picture, batch % options_.buffers, picture.number % options_.batch);
      } catch (const Error& error) {
        picture.error = error.cause();
      } catch (const std::exception& error) {  // no memory for this picture, say
        picture.error = error.what();
      }
      finish(std::move(picture));
    }
  } catch (...) {  // the source, or making `fill`
    end_with(std::current_exception());
  }
}

void BatchFeeder::end_with(std::exception_ptr failure) {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = std::move(failure);
  ended_ = true;
  changed_.notify_all();
}

void BatchFeeder::finish(Picture&& picture) {
  picture.bytes.clear();
  picture.bytes.shrink_to_fit();
  const std::size_t batch = picture.number / options_.batch;
  const std::lock_guard lock(mutex_);
  Slot& slot = ring_[batch % options_.buffers];
  slot.pictures[picture.number % options_.batch] = std::move(picture);
  if (++slot.done == size_of(batch)) changed_.notify_all();
}

// Before the source has ended every batch counts as a whole one.
std::size_t BatchFeeder::size_of(std::size_t batch) const {
  return ended_ ? std::min(options_.batch, next_ - batch * options_.batch) : options_.batch;
}

bool BatchFeeder::at_end() const { return ended_ && handed_ * options_.batch >= next_; }

bool BatchFeeder::is_ready() const {
  if (at_end()) return true;
  return handed_ * options_.batch < next_ && handed_ < released_ + options_.buffers &&
         ring_[handed_ % options_.buffers].done == size_of(handed_);
}

bool BatchFeeder::ready() {
  const std::lock_guard lock(mutex_);
  return is_ready();
}

bool BatchFeeder::next(Batch& into, const std::function<bool()>& stop) {
  std::unique_lock lock(mutex_);
  while (!is_ready()) {
    if (stop && stop()) return false;
    changed_.wait_for(lock, std::chrono::milliseconds(50));
  }
  if (at_end()) {
    if (failure_) std::rethrow_exception(failure_);
    return false;
  }
  Slot& slot = ring_[handed_ % options_.buffers];
  into.buffer = handed_ % options_.buffers;
  const auto rows = static_cast<std::ptrdiff_t>(size_of(handed_));
  into.pictures.assign(std::make_move_iterator(slot.pictures.begin()),
                       std::make_move_iterator(slot.pictures.begin() + rows));
  slot.done = 0;
  ++handed_;
  return true;
}

void BatchFeeder::release() {
  {
    const std::lock_guard lock(mutex_);
    ++released_;
  }
  changed_.notify_all();
}

}  // namespace ferry
