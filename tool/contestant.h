// Those who take part in a comparison: an engine of ferry, or PyTorch in Python. One in one precision, at any batch.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ferry/compare.h"
#include "ferry/measure.h"
#include "python_peers.h"

namespace ferry::tool {

class Contestant {
 public:
  virtual ~Contestant() = default;

  /// Gets ready for this batch: float32 [n, ...]; `input` outlives the measurement. Throws Error if it does not take
  /// it.
  virtual void prepare(const TensorView& input) = 0;
  /// One request. With `resident`, inputs and outputs stay on the device.
  virtual RunRecord run(bool resident) = 0;
  virtual bool has_resident() const = 0;
  /// The outputs of the last run that was not resident: scores in float32, or probabilities and classes.
  virtual std::vector<Tensor> outputs() = 0;
  /// Where resident runs are timed: what such a run computes, fetched after the timed part. Else nothing.
  virtual std::vector<Tensor> resident_outputs() { return {}; }
  virtual std::optional<Telemetry> telemetry() { return std::nullopt; }
  /// The engine behind it, for several sessions at once; null for who has none.
  virtual const Engine* engine() const { return nullptr; }
  /// Pictures (float32 [n, ...]) as that engine takes them.
  virtual Tensor engine_input(const TensorView& pictures) const { return Tensor::copy_of(pictures); }
  /// Where the time of the last batch goes; nothing where the engine does not tell.
  virtual std::optional<LayerProfile> layers() { return std::nullopt; }

  /// What the rows of this batch begin with: `row`, and of a plan set the engine that runs it.
  virtual ComparisonRow row_at(std::int64_t) const { return row; }

  /// Names, versions, device: copied into each row of the result.
  ComparisonRow row;
  /// Sits out larger batches: its kind of engine takes none.
  std::optional<std::int64_t> largest_batch;
};

/// An opened engine with one session. Outputs are filled with NaN before every run, so that one that is not written
/// cannot pass for right.
class EngineContestant : public Contestant {
 public:
  /// `form` says how pixels become what the others get (an engine with float input needs none). Throws Error(kCompare)
  /// for an engine that does not have one input, and scores or a top-k as output.
  EngineContestant(Engine engine, const std::string& precision, GraphForm form = {});
  void prepare(const TensorView& input) override;
  RunRecord run(bool resident) override;
  bool has_resident() const override { return engine_.info().resident; }
  std::vector<Tensor> outputs() override;
  std::vector<Tensor> resident_outputs() override;
  std::optional<Telemetry> telemetry() override { return engine_.telemetry(); }
  const Engine* engine() const override { return &engine_; }
  Tensor engine_input(const TensorView& pictures) const override;
  std::optional<LayerProfile> layers() override { return session_.profile(batch_); }
  ComparisonRow row_at(std::int64_t batch) const override;
  /// [-1, 3, 224, 224], whatever the layout of its pixels
  Shape input_shape() const;
  bool takes_pixels() const { return engine_.info().inputs[0].dtype == DType::kUInt8; }

 private:
  Engine engine_;
  Session session_;
  GraphForm form_;
  std::int64_t batch_ = 0;
  TensorView input_;
  Tensor converted_;
  std::vector<Tensor> outputs_;
  std::vector<const std::byte*> in_;  // of `input_` and `outputs_`: a timed run allocates nothing
  std::vector<std::byte*> out_;
};

/// Runs are asked for in blocks of about 50 ms and handed out one by one: a question for each run would leave Python
/// and its device idle in between, and make PyTorch look slower than it is.
class PeerContestant : public Contestant {
 public:
  PeerContestant(std::shared_ptr<PythonPeers> peers, PeerMode mode);
  ~PeerContestant() override;
  void prepare(const TensorView& input) override;
  RunRecord run(bool resident) override;
  bool has_resident() const override { return peers_->on_gpu(); }
  std::vector<Tensor> outputs() override;

 private:
  void drop();
  std::shared_ptr<PythonPeers> peers_;
  PeerMode mode_;
  int id_ = -1;
  std::vector<RunRecord> block_;  // runs not handed out yet, the next one last
  bool block_resident_ = false;
  std::array<int, 2> block_sizes_{1, 1};  // of runs with copies, of resident runs
};

}  // namespace ferry::tool
