// Mixed precision by measurement: which layers hurt, and how few of them must go back to float.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "ferry/error.h"
#include "ferry/evaluate.h"
#include "ferry/measure.h"
#include "ferry/quantize.h"
#include "onnx/model_impl.h"

namespace ferry {
namespace {

constexpr int kTimingRounds = 5;

class Gate {
 public:
  Gate(const Quantized& quantized, const GateRequest& request) : quantized_(quantized), request_(request) {
    for (const QuantizedNode& node : quantized.report.quantized) layers_.push_back(node.node);
  }

  GateResult run() {
    GateResult result{quantized_.int8_model.clone(), false, request_.images.labelled, 0, 0, {}, {}, quantized_.report};
    result.drop_before = result.drop_after = drop_of(quantized_.int8_model);
    result.passed = result.drop_before <= request_.max_drop;
    if (result.passed) return result;
    result.costs = costs();
    halve(result);
    if (result.passed) time_costs(result);
    return result;
  }

 private:
  struct Candidate {
    OnnxModel model;
    QuantizeReport report;
  };

  Candidate with_float(const std::set<std::string>& kept) const {
    OnnxModel model = quantized_.float_model.clone();
    if (kept.size() >= layers_.size()) return {std::move(model), {}};
    QuantizeOptions options = request_.options;
    options.keep.insert(kept.begin(), kept.end());
    QuantizeReport report = insert_qdq(model, quantized_.calibration.ranges, options);
    return {std::move(model), std::move(report)};
  }

  EvaluationEntry open(const std::string& name, const OnnxModel& model, std::optional<int> effort = 0) const {
    return entry_of(name,
                    open_for_calibration(model, request_.loader.batch, request_.backend, {}, request_.log, effort));
  }

  // What the float model said, batch by batch: every pass over one set sees the same batches.
  struct Answers {
    std::vector<Tensor> batches;
    EvaluationEntry float_model;
  };

  // The float model for one pass: runs at the first pass, answers from memory afterwards.
  EvaluationEntry reference(Answers& answers) {
    if (!answers.float_model.run) answers.float_model = open("float", quantized_.float_model);
    auto next = std::make_shared<std::size_t>(0);
    return {"float", [&answers, next](const TensorView& batch) {
              if (*next == answers.batches.size()) answers.batches.push_back(answers.float_model.run(batch));
              return answers.batches[(*next)++].clone();
            }};
  }

  EvaluationRow compare(const OnnxModel& model, const ImageSet& images, Answers& answers, const Progress& progress,
                        EvaluationRow* float_row = nullptr) {
    EvaluateOptions options;
    options.loader = request_.loader;
    options.reference = 0;
    options.progress = progress;
    Evaluation evaluation = evaluate({reference(answers), open("int8", model)}, images, options);
    if (float_row) *float_row = evaluation.rows[0];
    if (!evaluation.rows[1].failure.empty()) throw Error(Stage::kQuantize, "int8 model", evaluation.rows[1].failure);
    return evaluation.rows[1];
  }

  double drop_of(const OnnxModel& model) {
    Progress progress;
    if (request_.progress)
      progress = [this](const std::string&, std::int64_t done, std::int64_t total) {
        return request_.progress("checking accuracy", done, total);
      };
    EvaluationRow reference_row;
    const EvaluationRow row = compare(model, request_.images, all_, progress, &reference_row);
    return 100 *
           (request_.images.labelled ? reference_row.top1->value() - row.top1->value() : 1 - row.agreement->value());
  }

  std::vector<LayerCost> costs() {
    ImageSet few = request_.images;
    const auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(1, request_.sensitivity_images));
    if (few.items.size() > wanted) few.items.resize(wanted);
    std::vector<LayerCost> costs;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (request_.progress && !request_.progress("measuring each layer", static_cast<std::int64_t>(i),
                                                  static_cast<std::int64_t>(layers_.size())))
        throw Error(Stage::kInterrupted, "", "the repair was stopped");
      std::set<std::string> others(layers_.begin(), layers_.end());
      others.erase(layers_[i]);
      costs.push_back({layers_[i], *compare(with_float(others).model, few, few_, {}).relative_error, std::nullopt});
    }
    std::stable_sort(costs.begin(), costs.end(),
                     [](const LayerCost& a, const LayerCost& b) { return a.relative_error > b.relative_error; });
    return costs;
  }

  // The smallest number of worst layers that suffices, found by doubling and then halving.
  void halve(GateResult& result) {
    std::size_t enough = 1, too_few = 0;
    for (;; too_few = enough, enough = std::min(2 * enough, layers_.size())) {
      if (try_worst(enough, result)) break;
      if (enough == layers_.size()) return;  // not even the float model: the limit cannot be met
    }
    while (enough - too_few > 1) {
      const std::size_t middle = (enough + too_few) / 2;
      (try_worst(middle, result) ? enough : too_few) = middle;
    }
  }

  // Each one's price, measured in turns so that drift hits both alike.
  void time_costs(GateResult& result) {
    const std::set<std::string> reverted(result.reverted.begin(), result.reverted.end());
    const std::int64_t crop = request_.loader.preprocessing.crop, batch = request_.loader.batch;
    const Tensor input = Tensor::random_normal({batch, 3, crop, crop}, 1);
    const EvaluationEntry repaired = open("repaired", result.model, std::nullopt);
    std::size_t done = 0;
    for (LayerCost& cost : result.costs) {
      if (!reverted.contains(cost.node)) continue;
      if (request_.progress && !request_.progress("timing layers", static_cast<std::int64_t>(done++),
                                                  static_cast<std::int64_t>(reverted.size())))
        throw Error(Stage::kInterrupted, "", "the repair was stopped");
      std::set<std::string> others = reverted;
      others.erase(cost.node);
      const EvaluationEntry quicker = open("one more in int8", with_float(others).model, std::nullopt);
      std::vector<double> with, without;
      for (int round = 0; round < kTimingRounds; ++round) {
        with.push_back(milliseconds_of(repaired, input));
        without.push_back(milliseconds_of(quicker, input));
      }
      cost.milliseconds = (statistics(with).median - statistics(without).median) / static_cast<double>(batch);
    }
  }

  static double milliseconds_of(const EvaluationEntry& entry, const Tensor& input) {
    const auto start = std::chrono::steady_clock::now();
    entry.run(input.view());
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }

  // Keeps the candidate if it is within the limit.
  bool try_worst(std::size_t count, GateResult& result) {
    std::set<std::string> kept;
    for (std::size_t i = 0; i < count; ++i) kept.insert(result.costs[i].node);
    Candidate candidate = with_float(kept);
    const double drop = drop_of(candidate.model);
    if (!(drop <= request_.max_drop)) return false;
    result.passed = true;
    result.drop_after = drop;
    result.reverted.assign(kept.begin(), kept.end());
    result.model = std::move(candidate.model);
    result.report = std::move(candidate.report);
    return true;
  }

  const Quantized& quantized_;
  const GateRequest& request_;
  std::vector<std::string> layers_;
  Answers all_, few_;
};

}  // namespace

GateResult repair(const Quantized& quantized, const GateRequest& request) { return Gate(quantized, request).run(); }

}  // namespace ferry
