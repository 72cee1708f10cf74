// Batches of floats for who brings no engine: the feeder's threads decode and preprocess, the caller consumes.
#include <fmt/format.h>

#include <cstring>

#include "ferry/error.h"
#include "ferry/image_set.h"
#include "image/feeder.h"

namespace ferry {
namespace {

class Loader {
 public:
  explicit Loader(const LoaderOptions& options) : options_(options), buffers_(options.buffers) {
    if (options.batch < 1) throw Error(Stage::kUsage, "batch", fmt::format("{} is not a batch size", options.batch));
    floats_ = Preprocessor(options.preprocessing).floats();
    for (int i = 0; options.buffers.empty() && i < 2; ++i) {
      own_.emplace_back(static_cast<std::size_t>(options.batch) * floats_);
      buffers_.push_back(own_.back().data());
    }
  }

  LoadReport run(PictureSource& source, const std::function<bool(const ImageBatch&)>& consume) {
    LoadReport report;
    const FeederOptions options{static_cast<std::size_t>(options_.batch), buffers_.size(), options_.threads};
    BatchFeeder feeder(source, options, [this] { return filler(); });
    for (BatchFeeder::Batch rows; feeder.next(rows); feeder.release()) {
      const ImageBatch batch = close_gaps(rows, report);
      if (!batch.items.empty() && !consume(batch)) break;
    }
    return report;
  }

 private:
  FillRow filler() {
    struct Tools {
      Preprocessor preprocessor;
      ImageU8 image;
    };
    auto tools = std::make_shared<Tools>(Tools{Preprocessor(options_.preprocessing), {}});
    return [this, tools](Picture& picture, std::size_t buffer, std::size_t row) {
      const ImageView image =
          decode_part(encoded_bytes(picture), picture.name, options_.decode, options_.preprocessing, tools->image);
      tools->preprocessor.run(image, buffers_[buffer] + row * floats_);
    };
  }

  ImageBatch close_gaps(const BatchFeeder::Batch& rows, LoadReport& report) const {
    ImageBatch batch{buffers_[rows.buffer], {}};
    for (std::size_t row = 0; row < rows.pictures.size(); ++row) {
      const Picture& picture = rows.pictures[row];
      if (!picture.error.empty()) {
        report.broken.push_back({picture.name, fmt::format("{}: {}", picture.name, picture.error)});
        continue;
      }
      if (batch.items.size() != row)
        std::memcpy(batch.data + batch.items.size() * floats_, batch.data + row * floats_, floats_ * sizeof(float));
      batch.items.push_back(picture.number);
    }
    report.loaded += batch.items.size();
    return batch;
  }

  const LoaderOptions& options_;
  std::vector<float*> buffers_;
  std::vector<std::vector<float>> own_;
  std::size_t floats_ = 0;
};

}  // namespace

LoadReport load_batches(const std::vector<ImageItem>& items, const LoaderOptions& options,
                        const std::function<bool(const ImageBatch&)>& consume) {
  Loader loader(options);
  const std::unique_ptr<PictureSource> source = pictures_of(items);
  return loader.run(*source, consume);
}

}  // namespace ferry
