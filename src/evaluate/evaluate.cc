#include "ferry/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>

#include "ferry/error.h"

namespace ferry {
namespace {

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void check_entry(const std::string& name, const EngineInfo& info) {
  const bool image = info.inputs.size() == 1 && info.outputs.size() == 1 && info.inputs[0].shape.size() == 4;
  if (!image)
    throw Error(
        Stage::kRun, name,
        fmt::format("has {} inputs and {} outputs; evaluation needs one image input and one output", info.inputs.size(),
                    info.outputs.size()),
        info.outputs.size() == 2 ? "A model with --top-k keeps its scores to itself: use the one without." : "");
}

// Runs in pieces that the engine takes; a fixed batch is filled up by repeating the last image.
class SplitRun {
 public:
  SplitRun(const Engine& engine, const GraphForm& pixels)
      : session_(engine.new_session()),
        pixels_(pixels),
        type_(engine.info().inputs[0].dtype),
        limit_(engine.info().max_batch),
        fixed_(engine.info().inputs[0].shape[0]) {}

  Tensor operator()(const TensorView& batch) {
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
    if (type_ == DType::kUInt8) return convert(session_.run(pixels_of(part, pixels_).view()).view(), DType::kFloat32);
    if (type_ == DType::kFloat32) return convert(session_.run(part).view(), DType::kFloat32);
    return convert(session_.run(convert(part, type_).view()).view(), DType::kFloat32);
  }

  Session session_;
  GraphForm pixels_;
  DType type_;
  std::optional<std::int64_t> limit_;
  std::int64_t fixed_;
};

class Evaluator {
 public:
  Evaluator(const std::vector<EvaluationEntry>& entries, const ImageSet& images, const EvaluateOptions& options)
      : entries_(entries), images_(images), options_(options), crop_(options.loader.preprocessing.crop) {
    for (std::size_t e = 0; e < entries.size(); ++e)
      scorers_.emplace_back(entries[e].name, images.labelled, options.reference && e != *options.reference);
    if (options.reference && *options.reference >= entries.size())
      throw Error(Stage::kUsage, "reference", "is not one of the entries");
  }

  Evaluation run() {
    report_progress(0);
    LoadReport loaded = load_batches(images_.items, options_.loader, [&](const ImageBatch& batch) {
      score(batch);
      report_progress(static_cast<std::int64_t>(batch.items.back()) + 1);
      return true;
    });
    if (loaded.loaded == 0)
      throw Error(Stage::kImage, loaded.broken.front().path,
                  fmt::format("none of the {} pictures could be read; the first: {}", loaded.broken.size(),
                              loaded.broken.front().message));
    Evaluation result;
    for (const Scorer& scorer : scorers_) result.rows.push_back(scorer.row());
    result.layout = images_.layout;
    result.preprocessing = options_.loader.preprocessing.name;
    result.images = static_cast<std::int64_t>(loaded.loaded);
    result.broken = std::move(loaded.broken);
    return result;
  }

 private:
  void report_progress(std::int64_t done) const {
    if (options_.progress && !options_.progress("images", done, static_cast<std::int64_t>(images_.items.size())))
      throw Error(Stage::kInterrupted, "", "the evaluation was stopped");
  }

  void score(const ImageBatch& batch) {
    const TensorView view{DType::kFloat32,
                          {static_cast<std::int64_t>(batch.items.size()), 3, crop_, crop_},
                          reinterpret_cast<const std::byte*>(batch.data)};
    Tensor reference;
    if (options_.reference) {
      // Without its reference nobody can be judged: its exception is everybody's.
      reference = timed_run(*options_.reference, view);
      score_rows(*options_.reference, batch, reference, nullptr);
      if (scorers_[*options_.reference].failed())
        throw Error(Stage::kRun, entries_[*options_.reference].name,
                    "the reference failed: " + scorers_[*options_.reference].row().failure);
    }
    for (std::size_t e = 0; e < entries_.size(); ++e) {
      if (options_.reference == e || scorers_[e].failed()) continue;
      try {
        score_rows(e, batch, timed_run(e, view), options_.reference ? &reference : nullptr);
      } catch (const Error& error) {
        if (error.stage() == Stage::kInterrupted || error.stage() == Stage::kUsage) throw;
        scorers_[e].fail(error.what());
      }
    }
  }

  Tensor timed_run(std::size_t e, const TensorView& view) {
    const double start = now_seconds();
    Tensor output = entries_[e].run(view);
    scorers_[e].add_seconds(now_seconds() - start);
    if (output.shape().size() < 2 || output.shape()[0] != view.shape[0])
      throw Error(Stage::kRun, entries_[e].name,
                  fmt::format("gave {} for a batch of {}", to_string(output.shape()), view.shape[0]));
    return output;
  }

  void score_rows(std::size_t e, const ImageBatch& batch, const Tensor& output, const Tensor* reference) {
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
  std::int64_t crop_;
  std::vector<Scorer> scorers_;
};

}  // namespace

EvaluationEntry entry_of(const std::string& name, const Engine& engine, const GraphForm& pixels) {
  check_entry(name, engine.info());
  auto run = std::make_shared<SplitRun>(engine, pixels);
  return {name, [run](const TensorView& batch) { return (*run)(batch); }};
}

Evaluation evaluate(const std::vector<EvaluationEntry>& entries, const ImageSet& images,
                    const EvaluateOptions& options) {
  return Evaluator(entries, images, options).run();
}

}  // namespace ferry
