// Accuracy on pictures: top-1, top-5, and how far an engine is from a reference engine, with confidence intervals.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ferry/backend.h"
#include "ferry/image_set.h"
#include "ferry/tensor.h"

namespace ferry {

struct Interval {
  double low = 0, high = 1;
};
/// Wilson's score interval of a share (default: 95 %). The whole of [0, 1] without trials.
Interval wilson_interval(std::int64_t hits, std::int64_t trials, double z = 1.959963984540054);

struct Share {
  std::int64_t hits = 0, trials = 0;
  double value() const noexcept;  // NaN without trials
  Interval interval() const { return wilson_interval(hits, trials); }
};

/// What one engine reached. Everything is over the images that every part of the evaluation could read.
struct EvaluationRow {
  std::string name;
  std::int64_t images = 0;
  std::optional<Share> top1, top5;       // with labels. Equal scores count by lower class number
  std::optional<Share> agreement;        // with a reference: the same best class
  std::optional<double> kl;              // mean over images of KL(reference || engine), in nats
  std::optional<double> relative_error;  // L2 over all logits
  double seconds = 0;  // starting its requests and waiting for them, without decoding; on a GPU, which works meanwhile,
                       // less than it computed
  std::string failure;  // NaN, or an exception: what and for which image; the numbers stop there
};

/// Adds up logits, row by row; NaN and infinities are failures, not scores.
class Scorer {
 public:
  Scorer(std::string name, bool labelled, bool referenced);
  /// `label` -1 without labels; `reference` empty without a reference. False (and `failure` set) on a bad row.
  bool add(std::span<const float> logits, int label, std::span<const float> reference, const std::string& image);
  void add_seconds(double seconds) { row_.seconds += seconds; }
  void fail(const std::string& why);
  bool failed() const noexcept { return !row_.failure.empty(); }
  EvaluationRow row() const;

 private:
  EvaluationRow row_;
  double kl_sum_ = 0, error_ = 0, norm_ = 0;
};

/// Someone to evaluate: float32 [n, 3, crop, crop] in, float32 [n, classes] out.
struct EvaluationEntry {
  std::string name;
  std::function<Tensor(const TensorView&)> run;
};
/// An opened engine. `evaluate` decodes pictures straight into the staging memory of its sessions, as `Classifier` does
/// (on a GPU as pixels, with three batches in flight), where the engine has a form that the pipeline of classify feeds;
/// called as a function, and in every other case, it has one session: batches larger than it takes are split, FP16
/// inputs and outputs converted, and an engine that takes pixels gets those that the pictures were normalised from:
/// `pixels` has its layout, and mean and std of the pictures' preprocessing. Throws Error(kRun) for an engine without
/// exactly one image input and one output.
EvaluationEntry entry_of(const std::string& name, const Engine& engine, const GraphForm& pixels = {});

struct Evaluation {
  std::vector<EvaluationRow> rows;  // in the order of the entries; the reference is one of them if it was given
  std::string layout, preprocessing;
  std::int64_t images = 0;
  std::vector<BrokenImage> broken;
};

struct EvaluateOptions {
  LoaderOptions loader;
  std::optional<std::size_t> reference;  // index of the entry that agreement, KL and error are against
  Progress progress;
};

/// Runs every entry over the set; pictures are decoded once for all. Throws Error(kImage) if none can be read,
/// Error(kUsage) if a label is beyond the classes, Error(kInterrupted) if the progress callback says stop. An engine
/// that fails is left out of the rest and says why in its row.
Evaluation evaluate(const std::vector<EvaluationEntry>& entries, const ImageSet& images,
                    const EvaluateOptions& options);

std::string to_json(const Evaluation& evaluation);
/// At most 100 columns.
std::string to_table(const Evaluation& evaluation);

}  // namespace ferry
