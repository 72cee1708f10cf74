// What the values inside a network look like: statistics of every tensor that will be quantised, gathered by running
// pictures through the float model, kept in a JSON file, and turned into ranges by one of four methods.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ferry/backend.h"
#include "ferry/image_set.h"
#include "ferry/onnx.h"

namespace ferry {

/// Everything known about one tensor. Adding values in any order and any grouping gives the same bins.
struct TensorStatistics {
  std::uint64_t count = 0, zeros = 0;  // elements; exact zeros among them
  float min = 0, max = 0;
  double bin_width = 0;               // a power of two; grows with the range
  std::vector<std::uint64_t> bins;    // of |x|, without exact zeros: bin i is [i, i + 1) * bin_width
  std::vector<float> channel_max;     // of |x|, for each channel (dimension 1)
  std::vector<double> channel_mean;   // of x
  std::vector<double> channel_power;  // of x^2

  float max_abs() const noexcept { return -min > max ? -min : max; }
  /// Adds a float32 tensor [n, channels, ...]. Throws Error(kQuantize) naming `name` on NaN, infinity or another
  /// number of channels; then nothing was added.
  void add(const TensorView& values, const std::string& name);
};

enum class RangeMethod { kMax, kPercentile, kEntropy, kMse };
const char* name_of(RangeMethod method) noexcept;         // "max", "percentile", "entropy", "mse"
RangeMethod range_method_named(const std::string& name);  // throws Error(kUsage)

struct RangeOptions {
  RangeMethod method = RangeMethod::kMse;
  double percentile = 99.99;  // of |x|, for kPercentile
};
/// The |x| that becomes the last of `steps` (127 for int8 with zero point 0). 0 for a tensor of zeros.
///   max         the largest
///   percentile  the smallest bin edge that covers this share of the values
///   entropy     least Kullback-Leibler divergence of the quantised from the real distribution (TensorRT's procedure)
///   mse         least mean squared error of rounding and clipping together
double range_of(const TensorStatistics& statistics, const RangeOptions& options, int steps = 127);

/// How the pixels of pictures go together: sums, over pictures and places, of the product of a value in channel c and
/// of the one that lies dy below and dx to the right of it in channel d. What lies outside of a picture counts as zero,
/// as in a convolution that pads. From these follow the second moments of what any window of up to 7x7 sees.
struct PictureMoments {
  static constexpr std::int64_t kReach = 6;  // the furthest neighbour
  static constexpr std::int64_t kSide = 2 * kReach + 1;
  std::int64_t channels = 0;
  std::uint64_t places = 0;  // pictures times pixels
  std::vector<double> sums;  // [c, d, dy + kReach, dx + kReach]: channels^2 * kSide^2

  bool empty() const noexcept { return places == 0; }
  /// Adds float32 pictures [n, channels, height, width], in any order and grouping with the same result to rounding.
  /// Throws Error(kQuantize) for another number of channels.
  void add(const TensorView& pictures, int threads);
  /// The mean product; 0 beyond the reach. The same for (c, d, dy, dx) and (d, c, -dy, -dx).
  double at(std::int64_t c, std::int64_t d, std::int64_t dy, std::int64_t dx) const;
};

struct Calibration {
  std::string preprocessing, engine;
  std::int64_t images = 0;
  std::map<std::string, TensorStatistics> tensors;
  PictureMoments picture;  // empty if not asked for, and in files of before it was gathered
  std::vector<BrokenImage> broken;
};

/// Runs a batch through the float model and gives the wanted tensors, in their order.
using TensorRunner = std::function<std::vector<Tensor>(const TensorView& batch)>;

/// `model` with these tensors as its outputs, in this order. Throws Error(kQuantize) for a name it does not have.
OnnxModel with_outputs(const OnnxModel& model, const std::vector<std::string>& tensors);
/// An engine that runs an ONNX model given in memory: the best that opens ONNX as it is, else the best that builds.
/// `backend` names one; `effort` is the optimisation level where one has to be built: by default the least, because a
/// few hundred pictures do not repay a search for the best kernels. Throws Error(kBackend) with each one's reason if
/// there is none.
Engine open_for_calibration(const OnnxModel& model, std::int64_t batch, const std::string& backend,
                            const Progress& progress, const Log& log, std::optional<int> effort = 0);

struct CalibrateOptions {
  LoaderOptions loader;
  std::int64_t max_images = 0;  // 0: all; otherwise that many, drawn evenly with `seed`
  std::uint64_t seed = 0;
  bool moments = true;  // count how pixels go together
  Progress progress;
};
/// Streams the set through `run` and adds everything up: one batch in memory. Throws Error(kImage) if no picture can be
/// read, Error(kQuantize) on NaN, Error(kInterrupted).
Calibration gather(const std::vector<std::string>& tensors, const TensorRunner& run, const ImageSet& images,
                   const CalibrateOptions& options);

}  // namespace ferry
