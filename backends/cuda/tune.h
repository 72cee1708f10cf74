// Which tiles are quickest, measured on the GPU that the plan is for.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "cuda/layers.h"
#include "cuda/tiles.h"
#include "cuda_support/devices.h"

namespace ferry::latency {

struct Tuned {
  std::vector<Tile> tiles;                    // one for each layer
  double model_cycles = 0, tuned_cycles = 0;  // of the tiles that the model prefers, and of these; as measured
};

/// Runs the whole network with one way of cutting each phase after another, reads from the GPU's clock how long each
/// phase takes, and keeps the quickest. Weights and pictures are anything: no time depends on them.
class Tuner {
 public:
  static constexpr int kRuns = 15;  // of each way, unless asked otherwise

  Tuner(const Layers& layers, const Machine& machine, const cuda::DeviceInfo& device, int runs);
  Tuner(const Tuner&) = delete;
  ~Tuner();

  using Step = std::function<void(std::int64_t done, std::int64_t all)>;

  /// How many clusters this GPU forms; 0: none.
  int clusters() const;
  /// With the chains that `clusters` clusters can run; 0: without. Nothing where the GPU does not tell the
  /// time (an emulated one). `step` is told how many ways of how many are measured, and may throw. Throws
  /// nvinfer::Failure and cuda::Error.
  std::optional<Tuned> tune(int images, int clusters, const Step& step);

 private:
  class Bench;
  const Layers& layers_;
  Machine machine_;
  std::unique_ptr<Bench> bench_;
};

}  // namespace ferry::latency
