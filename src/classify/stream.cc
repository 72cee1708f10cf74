// A stream of pictures through an engine: threads decode into the staging memory of several lanes, requests overlap,
// and one thread (the caller's) starts them, waits for the oldest and hands its pictures on in order.
#include <chrono>
#include <deque>
#include <optional>

#include "classify/classifier_impl.h"
#include "ferry/error.h"
#include "image/feeder.h"
#include "image/thumbnail.h"

namespace ferry {
namespace {

// One is filled while another runs; on a GPU one more waits in the queue, so that it never idles between requests.
std::size_t lanes_for(const EngineInfo& info) { return info.device.kind == "gpu" ? 4 : 2; }

std::int64_t batch_of(const ClassifierOptions& options, const EngineInfo& info, std::int64_t total) {
  std::int64_t batch = options.batch > 0 ? options.batch : good_batch(info);
  if (total > 0 && options.batch <= 0) batch = std::min(batch, total);
  return batch;
}

class Stream {
 public:
  using Consume = std::function<bool(Classified&&)>;
  using Stop = std::function<bool()>;

  Stream(Classifier::Impl& impl, PictureSource& pictures, const Consume& consume, const Stop& stop)
      : impl_(impl), consume_(consume), stop_(stop) {
    report_.batch = batch_of(impl.options, impl.tools.engine.info(), pictures.total());
    const std::size_t lanes = lanes_for(impl.tools.engine.info());
    lanes_ = impl.take_lanes(report_.batch, lanes);
    const FeederOptions options{static_cast<std::size_t>(report_.batch), lanes, impl.options.threads};
    feeder_ = std::make_unique<BatchFeeder>(pictures, options, [this] { return filler(); });
  }

  ClassifyReport run() {
    const auto begin = std::chrono::steady_clock::now();
    while (!done_) {
      if (flight_.size() + 1 >= lanes_.size() || (!flight_.empty() && !feeder_->ready()))
        deliver();
      else
        start_next();
    }
    while (!flight_.empty() && !refused_) deliver();
    feeder_.reset();
    // After an early end, rows that were filled and never run lie in them.
    if (!refused_ && !report_.interrupted) impl_.give_back(report_.batch, std::move(lanes_));
    report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report_;
  }

 private:
  struct InFlight {
    BatchFeeder::Batch batch;
    std::size_t rows = 0;  // that hold a picture
  };

  // What one decoding thread keeps.
  struct Tools {
    Preprocessor preprocessor;
    std::optional<Preprocessor> small;  // for thumbnails
    ImageU8 image;
  };

  FillRow filler() {
    const Preprocessing& preset = impl_.tools.preprocessing;
    auto tools = std::make_shared<Tools>(Tools{Preprocessor(preset), std::nullopt, {}});
    if (impl_.options.thumbnail > 0) tools->small.emplace(thumbnail_preset(preset, impl_.options.thumbnail));
    return [this, tools](Picture& picture, std::size_t lane, std::size_t row) { fill(*tools, picture, lane, row); };
  }

  void fill(Tools& tools, Picture& picture, std::size_t lane, std::size_t row) {
    const DecodeOptions& decode = impl_.options.decode;
    const std::string bytes = encoded_bytes(picture);
    if (!tools.small) {
      lanes_[lane]->put(row, decode_part(bytes, picture.name, decode, impl_.tools.preprocessing, tools.image),
                        tools.preprocessor);
      return;
    }
    decode_image(bytes, picture.name, decode, tools.image);
    lanes_[lane]->put(row, tools.image, tools.preprocessor);
    picture.thumbnail = thumbnail(tools.image, *tools.small);
  }

  void start_next() {
    InFlight next;
    if ((stop_ && stop_()) || !feeder_->next(next.batch, stop_)) {
      report_.interrupted = stop_ && stop_();
      done_ = true;
      return;
    }
    Lane& lane = *lanes_[next.batch.buffer];
    for (std::size_t row = 0; row < next.batch.pictures.size(); ++row) {
      if (!next.batch.pictures[row].error.empty()) continue;
      if (next.rows != row) lane.move(row, next.rows);
      ++next.rows;
    }
    if (next.rows > 0) lane.submit(next.rows);
    flight_.push_back(std::move(next));
  }

  void deliver() {
    InFlight oldest = std::move(flight_.front());
    flight_.pop_front();
    const Lane& lane = *lanes_[oldest.batch.buffer];
    if (oldest.rows > 0) lanes_[oldest.batch.buffer]->wait();
    std::size_t row = 0;
    for (Picture& picture : oldest.batch.pictures) {
      Classified result;
      result.number = picture.number;
      result.name = std::move(picture.name);
      result.label = picture.label;
      result.error = std::move(picture.error);
      result.thumbnail = std::move(picture.thumbnail);
      if (result.error.empty()) label(lane, row++, result);
      ++(result.error.empty() ? report_.classified : report_.broken);
      if (!consume_(std::move(result))) {
        refused_ = done_ = true;
        return;
      }
    }
    feeder_->release();
  }

  // A NaN spoils its own picture only.
  void label(const Lane& lane, std::size_t row, Classified& result) const {
    try {
      result.labels = impl_.labels_of(lane, row);
    } catch (const Error& error) {
      result.error = error.cause();
    }
  }

  Classifier::Impl& impl_;
  const Consume& consume_;
  const Stop& stop_;
  ClassifyReport report_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::unique_ptr<BatchFeeder> feeder_;  // ends before the lanes that it fills
  std::deque<InFlight> flight_;
  bool done_ = false, refused_ = false;
};

}  // namespace

ClassifyReport Classifier::classify_all(PictureSource& pictures, const std::function<bool(Classified&&)>& consume,
                                        const std::function<bool()>& stop) const {
  return Stream(*impl_, pictures, consume, stop).run();
}

}  // namespace ferry
