#include "ferry/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>

#include "classify/form.h"
#include "evaluate/entrants.h"
#include "ferry/error.h"
#include "ferry/pictures.h"
#include "image/feeder.h"

namespace ferry {
namespace {

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void check_entry(const std::string& name, const EngineInfo& info) {
  if (info.inputs.size() == 1 && info.outputs.size() == 1 && info.inputs[0].shape.size() == 4) return;
  throw Error(Stage::kRun, name,
              fmt::format("has {} inputs and {} outputs; evaluation needs one image input and one output of scores",
                          info.inputs.size(), info.outputs.size()),
              info.outputs.size() == 2 ? "A model with --top-k keeps its scores to itself: use the one without." : "");
}

// Engines of a form that the pipeline does not know (heights that are free, say) get floats.
bool pipeline_takes(const EngineInfo& info) {
  try {
    form_of(info);
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Runs in pieces that the engine takes; a fixed batch is filled up by repeating the last image.
class SplitRun {
 public:
  SplitRun(const Engine& engine, const GraphForm& pixels)
      : engine_(engine),
        pixels_(pixels),
        type_(engine.info().inputs[0].dtype),
        limit_(engine.info().max_batch),
        fixed_(engine.info().inputs[0].shape[0]) {}

  Tensor operator()(const TensorView& batch) {
    if (!session_) session_ = engine_.new_session();  // `evaluate` never needs it where it uses the engine
    const std::int64_t count = batch.shape[0];
    const std::int64_t step = fixed_ > 0 ? fixed_ : std::min(count, limit_.value_or(count));
    Tensor all;
    for (std::int64_t first = 0; first < count; first += step) {
      const std::int64_t real = std::min(step, count - first);
      const Tensor part = run_part(batch, first, real, fixed_ > 0 ? fixed_ : real);
      const std::int64_t classes = part.elements() / part.shape().at(0);
      if (first == 0) all = Tensor(DType::kFloat32, {count, classes});
      std::memcpy(all.floats().data() + first * classes, part.data(),
                  static_cast<std::size_t>(real * classes) * sizeof(float));
    }
    return all;
  }

 private:
  Tensor run_part(const TensorView& batch, std::int64_t first, std::int64_t real, std::int64_t padded) {
    const std::size_t image = batch.size_bytes() / static_cast<std::size_t>(batch.shape[0]);
    TensorView part = batch;
    part.shape[0] = padded;
    part.data = batch.data + image * static_cast<std::size_t>(first);
    Tensor filled;
    if (padded != real) {
      filled = Tensor(batch.dtype, part.shape);
      for (std::int64_t i = 0; i < padded; ++i)
        std::memcpy(filled.data() + image * static_cast<std::size_t>(i),
                    part.data + image * static_cast<std::size_t>(std::min(i, real - 1)), image);
      part = filled.view();
    }
    if (type_ == DType::kUInt8) return convert(session_->run(pixels_of(part, pixels_).view()).view(), DType::kFloat32);
    if (type_ == DType::kFloat32) return convert(session_->run(part).view(), DType::kFloat32);
    return convert(session_->run(convert(part, type_).view()).view(), DType::kFloat32);
  }

  Engine engine_;
  std::optional<Session> session_;
  GraphForm pixels_;
  DType type_;
  std::optional<std::int64_t> limit_;
  std::int64_t fixed_;
};

// What `entry_of` makes. `evaluate` knows it when it sees it: then pictures are decoded straight into the engine's
// staging memory, as `Classifier` does it (on a GPU as pixels), and there several batches are in flight.
struct EngineRun {
  Engine engine;
  bool pipeline;
  std::shared_ptr<SplitRun> split;
  Tensor operator()(const TensorView& batch) const { return (*split)(batch); }
};

std::vector<Entrants::Way> ways_of(const std::vector<EvaluationEntry>& entries) {
  std::vector<Entrants::Way> ways;
  for (const EvaluationEntry& entry : entries) {
    const auto* const run = entry.run.target<EngineRun>();
    ways.push_back({entry.run, run && run->pipeline ? &run->engine : nullptr});
  }
  return ways;
}

class Stopwatch {
 public:
  explicit Stopwatch(Scorer& scorer) : scorer_(scorer), start_(now_seconds()) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { scorer_.add_seconds(now_seconds() - start_); }

 private:
  Scorer& scorer_;
  double start_;
};

class Evaluator {
 public:
  Evaluator(const std::vector<EvaluationEntry>& entries, const ImageSet& images, const EvaluateOptions& options)
      : entries_(entries),
        images_(images),
        options_(options),
        entrants_(ways_of(entries), options.loader.preprocessing, options.loader.batch) {
    for (std::size_t e = 0; e < entries.size(); ++e)
      scorers_.emplace_back(entries[e].name, images.labelled, options.reference && e != *options.reference);
    if (options.reference && *options.reference >= entries.size())
      throw Error(Stage::kUsage, "reference", "is not one of the entries");
  }

  Evaluation run() {
    report_progress(0);
    for (std::size_t e = 0; e < entries_.size(); ++e) {
      if (entrants_.failure(e).empty()) continue;
      scorers_[e].fail(entrants_.failure(e));
      check_reference(e);
    }
    const std::unique_ptr<PictureSource> source = pictures_of(images_.items);
    const FeederOptions how{static_cast<std::size_t>(entrants_.batch()), entrants_.buffers(), options_.loader.threads};
    BatchFeeder feeder(*source, how, [this] { return filler(); });
    for (bool more = true; more || !flight_.empty();) {
      if (!more || flight_.size() + 1 >= entrants_.buffers() || (!flight_.empty() && !feeder.ready()))
        deliver(feeder);
      else
        more = start_next(feeder);
    }
    if (loaded_ == 0)
      throw Error(
          Stage::kImage, broken_.front().path,
          fmt::format("none of the {} pictures could be read; the first: {}", broken_.size(), broken_.front().message));
    Evaluation result;
    for (const Scorer& scorer : scorers_) result.rows.push_back(scorer.row());
    result.layout = images_.layout;
    result.preprocessing = options_.loader.preprocessing.name;
    result.images = static_cast<std::int64_t>(loaded_);
    result.broken = std::move(broken_);
    return result;
  }

 private:
  void report_progress(std::int64_t done) const {
    if (options_.progress && !options_.progress("images", done, static_cast<std::int64_t>(images_.items.size())))
      throw Error(Stage::kInterrupted, "", "the evaluation was stopped");
  }

  struct InFlight {
    std::size_t buffer = 0;
    std::vector<std::size_t> items{};  // which item each row is
  };

  FillRow filler() {
    struct Tools {
      Preprocessor preprocessor;
      ImageU8 image;
    };
    auto tools = std::make_shared<Tools>(Tools{Preprocessor(options_.loader.preprocessing), {}});
    return [this, tools](Picture& picture, std::size_t buffer, std::size_t row) {
      const ImageView image = decode_part(encoded_bytes(picture), picture.name, options_.loader.decode,
                                          options_.loader.preprocessing, tools->image);
      entrants_.put(buffer, row, image, tools->preprocessor);
    };
  }

  bool start_next(BatchFeeder& feeder) {
    BatchFeeder::Batch batch;
    if (!feeder.next(batch)) return false;
    InFlight next{batch.buffer};
    for (std::size_t row = 0; row < batch.pictures.size(); ++row) {
      const Picture& picture = batch.pictures[row];
      if (!picture.error.empty()) {
        broken_.push_back({picture.name, fmt::format("{}: {}", picture.name, picture.error)});
        continue;
      }
      if (next.items.size() != row) entrants_.move(next.buffer, row, next.items.size());
      next.items.push_back(picture.number);
    }
    loaded_ += next.items.size();
    for (std::size_t e = 0; e < entries_.size() && !next.items.empty(); ++e)
      attempt(e, [&] {
        const Stopwatch watch(scorers_[e]);
        entrants_.start(e, next.buffer, next.items.size());
      });
    flight_.push_back(std::move(next));
    return true;
  }

  void deliver(BatchFeeder& feeder) {
    const InFlight oldest = std::move(flight_.front());
    flight_.pop_front();
    if (!oldest.items.empty()) {
      score(oldest);
      report_progress(static_cast<std::int64_t>(oldest.items.back()) + 1);
    }
    feeder.release();
  }

  // Without its reference nobody can be judged: its failure is everybody's.
  void score(const InFlight& batch) {
    Tensor reference;
    const auto scored = [&](std::size_t e) {
      attempt(e, [&] {
        Tensor output = finish(e, batch);
        score_rows(e, batch, output, options_.reference && options_.reference != e ? &reference : nullptr);
        if (options_.reference == e) reference = std::move(output);
      });
    };
    if (options_.reference) scored(*options_.reference);
    for (std::size_t e = 0; e < entries_.size(); ++e)
      if (options_.reference != e) scored(e);
  }

  // What an engine throws ends its part; what somebody asked for wrongly, or to stop, ends all.
  template <typename Work>
  void attempt(std::size_t e, const Work& work) {
    if (scorers_[e].failed()) return;
    try {
      work();
    } catch (const Error& error) {
      if (error.stage() == Stage::kInterrupted || error.stage() == Stage::kUsage) throw;
      scorers_[e].fail(error.what());
    }
    check_reference(e);
  }

  void check_reference(std::size_t e) const {
    if (options_.reference == e && scorers_[e].failed())
      throw Error(Stage::kRun, entries_[e].name, "the reference failed: " + scorers_[e].row().failure);
  }

  Tensor finish(std::size_t e, const InFlight& batch) {
    const Stopwatch watch(scorers_[e]);
    Tensor output = entrants_.finish(e, batch.buffer, batch.items.size());
    const auto rows = static_cast<std::int64_t>(batch.items.size());
    if (output.shape().size() < 2 || output.shape()[0] != rows)
      throw Error(Stage::kRun, entries_[e].name,
                  fmt::format("gave {} for a batch of {}", to_string(output.shape()), rows));
    return output;
  }

  void score_rows(std::size_t e, const InFlight& batch, const Tensor& output, const Tensor* reference) {
    const std::size_t classes = output.floats().size() / batch.items.size();
    if (reference && reference->elements() != output.elements())
      throw Error(
          Stage::kRun, entries_[e].name,
          fmt::format("has {} outputs, the reference {}", to_string(output.shape()), to_string(reference->shape())));
    for (std::size_t i = 0; i < batch.items.size(); ++i) {
      const ImageItem& item = images_.items[batch.items[i]];
      if (images_.labelled && item.label >= static_cast<int>(classes))
        throw Error(Stage::kUsage, item.path,
                    fmt::format("is labelled {}, but {} has {} classes", item.label, entries_[e].name, classes));
      const auto row = [&](const Tensor& t) { return t.floats().subspan(i * classes, classes); };
      if (!scorers_[e].add(row(output), item.label, reference ? row(*reference) : std::span<const float>(), item.path))
        return;
    }
  }

  const std::vector<EvaluationEntry>& entries_;
  const ImageSet& images_;
  const EvaluateOptions& options_;
  Entrants entrants_;
  std::vector<Scorer> scorers_;
  std::deque<InFlight> flight_;
  std::size_t loaded_ = 0;
  std::vector<BrokenImage> broken_;
};

}  // namespace

EvaluationEntry entry_of(const std::string& name, const Engine& engine, const GraphForm& pixels) {
  check_entry(name, engine.info());
  return {name, EngineRun{engine, pipeline_takes(engine.info()), std::make_shared<SplitRun>(engine, pixels)}};
}

Evaluation evaluate(const std::vector<EvaluationEntry>& entries, const ImageSet& images,
                    const EvaluateOptions& options) {
  return Evaluator(entries, images, options).run();
}

}  // namespace ferry
