// Classifier: what it is made of, and one picture at a time. Streams are in stream.cc.
#include <fmt/format.h>

#include "classify/classifier_impl.h"
#include "ferry/engine_file.h"
#include "ferry/error.h"

namespace ferry {
namespace {

// Each keeps memory on the device; more of them than this do not make single pictures faster.
constexpr int kMostSingleLanes = 8;

LaneTools tools_of(Engine engine, const ClassifierOptions& options) {
  if (options.top_k < 1) throw Error(Stage::kUsage, "top_k", fmt::format("{} is below 1", options.top_k));
  EngineForm form = form_of(engine.info());
  const Preprocessing preset = options.preprocessing.value_or(Preprocessing{});
  if (form.crop != preset.crop) check_crop(form, preset);
  return {std::move(engine), form, preset};
}

std::vector<std::string> names_of(const ClassifierOptions& options, const EngineForm& form) {
  if (!options.class_names.empty() && !form.top_k &&
      static_cast<std::int64_t>(options.class_names.size()) != form.classes)
    throw Error(
        Stage::kUsage, "class names",
        fmt::format("{} names were given; the network has {} classes", options.class_names.size(), form.classes));
  if (!options.class_names.empty()) return options.class_names;
  if (form.classes == 1000 || form.top_k) return imagenet_classes();
  return {};
}

// A lane that goes back whatever happens.
class Taken {
 public:
  explicit Taken(Classifier::Impl& impl) : impl_(impl), lane_(impl.take()) {}
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  ~Taken() { impl_.give_back(std::move(lane_)); }
  SingleLane* operator->() const noexcept { return lane_.get(); }

 private:
  Classifier::Impl& impl_;
  std::unique_ptr<SingleLane> lane_;
};

std::vector<Label> run_one(const Classifier::Impl& impl, const Taken& taken, const ImageView& image) {
  taken->lane->put(0, image, taken->preprocessor);
  taken->lane->submit(1);
  taken->lane->wait();
  return impl.labels_of(*taken->lane, 0);
}

}  // namespace

Classifier::Impl::Impl(Engine engine, const ClassifierOptions& o)
    : options(o), tools(tools_of(std::move(engine), o)), names(names_of(o, tools.form)) {}

std::vector<Label> Classifier::Impl::labels_of(const Lane& lane, std::size_t row) const {
  std::vector<Label> labels;
  for (const ClassScore& score : lane.best(row, options.top_k)) {
    const auto index = static_cast<std::size_t>(score.index);
    labels.push_back(
        {score.index, index < names.size() ? names[index] : fmt::format("class {}", score.index), score.score});
  }
  return labels;
}

std::unique_ptr<SingleLane> Classifier::Impl::take() {
  std::unique_lock lock(mutex_);
  returned_.wait(lock, [&] { return !idle_.empty() || in_use_ < kMostSingleLanes; });
  ++in_use_;
  if (!idle_.empty()) {
    std::unique_ptr<SingleLane> lane = std::move(idle_.back());
    idle_.pop_back();
    return lane;
  }
  lock.unlock();
  try {
    return std::make_unique<SingleLane>(tools);
  } catch (...) {
    give_back(nullptr);
    throw;
  }
}

void Classifier::Impl::give_back(std::unique_ptr<SingleLane> lane) {
  {
    const std::lock_guard lock(mutex_);
    --in_use_;
    if (lane) idle_.push_back(std::move(lane));
  }
  returned_.notify_one();
}

std::vector<std::unique_ptr<Lane>> Classifier::Impl::take_lanes(std::int64_t batch, std::size_t count) {
  std::vector<std::unique_ptr<Lane>> lanes;
  {
    const std::lock_guard lock(mutex_);
    if (kept_batch_ == batch) lanes = std::move(kept_lanes_);
    kept_lanes_.clear();
  }
  while (lanes.size() < count) lanes.push_back(Lane::make(tools, batch));
  return lanes;
}

void Classifier::Impl::give_back(std::int64_t batch, std::vector<std::unique_ptr<Lane>> lanes) {
  const std::lock_guard lock(mutex_);
  kept_batch_ = batch;
  kept_lanes_ = std::move(lanes);
}

Classifier Classifier::open(const std::string& model, const ClassifierOptions& options,
                            const OpenOptions& open_options) {
  Engine engine = open_engine(model, open_options);
  PictureFacts facts = picture_facts(model);
  ClassifierOptions known = options;
  if (!known.preprocessing && !facts.preprocessing.empty())
    known.preprocessing = preprocessing_named(facts.preprocessing);
  if (known.class_names.empty()) known.class_names = std::move(facts.class_names);
  return Classifier(std::move(engine), known);
}

Classifier::Classifier(Engine engine, const ClassifierOptions& options)
    : impl_(std::make_shared<Impl>(std::move(engine), options)) {}

std::vector<Label> Classifier::classify(const std::string& path) const {
  Picture picture;
  picture.name = path;
  return classify_bytes(encoded_bytes(picture), path);
}

std::vector<Label> Classifier::classify_bytes(std::string_view bytes, const std::string& name) const {
  Taken taken(*impl_);
  const ImageView image = decode_part(bytes, name, impl_->options.decode, impl_->tools.preprocessing, taken->image);
  return run_one(*impl_, taken, image);
}

std::vector<Label> Classifier::classify_pixels(const ImageU8& image) const {
  Taken taken(*impl_);
  return run_one(*impl_, taken, image);
}

const Preprocessing& Classifier::preprocessing() const noexcept { return impl_->tools.preprocessing; }
const std::vector<std::string>& Classifier::class_names() const noexcept { return impl_->names; }
const Engine& Classifier::engine() const noexcept { return impl_->tools.engine; }

}  // namespace ferry
