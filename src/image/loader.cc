// Threads decode and preprocess into a ring of batch buffers; the caller's thread consumes the batches in order.
//
// Batch b is items [b * batch, (b + 1) * batch) and lies in buffer b modulo their number. A worker that takes an item
// of a batch whose buffer is not free yet waits, so memory and the lead over the consumer are bounded.
#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/files.h"
#include "ferry/error.h"
#include "ferry/image_set.h"

namespace ferry {
namespace {

class Loader {
 public:
  Loader(const std::vector<ImageItem>& items, const LoaderOptions& options)
      : items_(items), options_(options), buffers_(options.buffers), messages_(items.size()) {
    if (options.batch < 1) throw Error(Stage::kUsage, "batch", fmt::format("{} is not a batch size", options.batch));
    floats_ = Preprocessor(options.preprocessing).floats();
    batch_ = static_cast<std::size_t>(options.batch);
    for (int i = 0; options.buffers.empty() && i < 2; ++i) {
      own_.emplace_back(batch_ * floats_);
      buffers_.push_back(own_.back().data());
    }
    done_.resize((items.size() + batch_ - 1) / batch_);
  }

  LoadReport run(const std::function<bool(const ImageBatch&)>& consume) {
    start();
    try {
      for (std::size_t b = 0; b < done_.size(); ++b)
        if (!consume_batch(b, consume)) break;
    } catch (...) {
      stop();
      throw;
    }
    stop();
    return std::move(report_);
  }

 private:
  void start() {
    const std::size_t wanted =
        options_.threads > 0 ? options_.threads : std::max(1u, std::thread::hardware_concurrency());
    const std::size_t useful = std::min(wanted, items_.size());
    for (std::size_t i = 0; i < useful; ++i) threads_.emplace_back([this] { work(); });
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    threads_.clear();  // joins
  }

  void work() {
    Preprocessor preprocessor(options_.preprocessing);
    ImageU8 image;
    for (;;) {
      std::size_t item;
      {
        std::unique_lock lock(mutex_);
        if (next_ == items_.size()) return;
        item = next_++;
        changed_.wait(lock, [&] { return stopped_ || item / batch_ < consumed_ + buffers_.size(); });
        if (stopped_) return;
      }
      load(item, preprocessor, image);
      const std::lock_guard lock(mutex_);
      if (++done_[item / batch_] == size_of_batch(item / batch_)) changed_.notify_all();
    }
  }

  void load(std::size_t item, Preprocessor& preprocessor, ImageU8& image) noexcept {
    const std::string& path = items_[item].path;
    try {
      decode_image(read_file(path, Stage::kImage), path, options_.decode, image);
      preprocessor.run(image, buffer_of(item / batch_) + item % batch_ * floats_);
    } catch (const Error& error) {
      messages_[item] = error.subject().empty() ? fmt::format("{}: {}", path, error.what()) : error.what();
    } catch (const std::exception& error) {  // no memory for this picture, say
      messages_[item] = fmt::format("{}: {}", path, error.what());
    }
  }

  bool consume_batch(std::size_t b, const std::function<bool(const ImageBatch&)>& consume) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return done_[b] == size_of_batch(b); });
    }
    const ImageBatch batch = close_gaps(b);
    const bool go_on = batch.items.empty() || consume(batch);
    {
      const std::lock_guard lock(mutex_);
      ++consumed_;
    }
    changed_.notify_all();
    return go_on;
  }

  ImageBatch close_gaps(std::size_t b) {
    ImageBatch batch{buffer_of(b), {}};
    for (std::size_t slot = 0; slot < size_of_batch(b); ++slot) {
      const std::size_t item = b * batch_ + slot;
      if (!messages_[item].empty()) {
        report_.broken.push_back({items_[item].path, messages_[item]});
        continue;
      }
      if (batch.items.size() != slot)
        std::memcpy(batch.data + batch.items.size() * floats_, batch.data + slot * floats_, floats_ * sizeof(float));
      batch.items.push_back(item);
    }
    report_.loaded += batch.items.size();
    return batch;
  }

  std::size_t size_of_batch(std::size_t b) const { return std::min(batch_, items_.size() - b * batch_); }
  float* buffer_of(std::size_t b) const { return buffers_[b % buffers_.size()]; }

  const std::vector<ImageItem>& items_;
  const LoaderOptions& options_;
  std::vector<float*> buffers_;
  std::vector<std::vector<float>> own_;
  std::vector<std::string> messages_;  // of broken items; each written by one worker before its batch is done
  std::size_t floats_ = 0, batch_ = 1;
  LoadReport report_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::size_t> done_;  // items finished, for each batch
  std::size_t next_ = 0, consumed_ = 0;
  bool stopped_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace

LoadReport load_batches(const std::vector<ImageItem>& items, const LoaderOptions& options,
                        const std::function<bool(const ImageBatch&)>& consume) {
  return Loader(items, options).run(consume);
}

}  // namespace ferry
