#include "quantize/shift.h"

#include <gmock/gmock.h>

#include <numeric>

#include "ferry/error.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"
#include "unit/quantize/tiny_model.h"

namespace ferry {
namespace {

using testing::UnorderedElementsAre;

std::vector<std::string> shifted(const OnnxModel& model, FullRange which, const std::set<std::string>& keep = {}) {
  onnx::GraphProto graph = model.impl().proto.graph();
  std::vector<std::string> names;
  for (const auto& [tensor, shift] : find_shifts(GraphIndex(graph), graph, plan_layers(model, keep), which))
    names.push_back(tensor);
  return names;
}

onnx::NodeProto& node_named(OnnxModel& model, const std::string& name) {
  for (onnx::NodeProto& node : *model.impl().proto.mutable_graph()->mutable_node())
    if (node.name() == name) return node;
  throw std::runtime_error("no node " + name);
}

TEST(FullRangeTest, IsOfBlocksThePooledFeaturesAndTheStem) {
  const OnnxModel model = tiny_model();
  EXPECT_THAT(shifted(model, FullRange::kBlocks),
              UnorderedElementsAre("layer1.0.relu3", "layer1.1.relu3", "layer2.0.relu3", "layer3.0.relu3", "flatten"));
  EXPECT_THAT(shifted(model, FullRange::kAll),
              UnorderedElementsAre("layer1.0.relu3", "layer1.1.relu3", "layer2.0.relu3", "layer3.0.relu3", "flatten",
                                   "maxpool"));
  EXPECT_TRUE(shifted(model, FullRange::kOff).empty());
}

TEST(FullRangeTest, IsNotOfWhatAPaddedConvolutionReads) {
  EXPECT_THAT(shifted(tiny_model(ResNetArchitecture::Block::kBasic), FullRange::kAll), UnorderedElementsAre("flatten"));
  OnnxModel model = tiny_model();
  set_attribute(node_named(model, "layer1.1.conv1"), "pads", std::vector<std::int64_t>{0, 0, 1, 1});
  EXPECT_THAT(shifted(model, FullRange::kBlocks),
              UnorderedElementsAre("layer1.1.relu3", "layer2.0.relu3", "layer3.0.relu3", "flatten"));
}

TEST(FullRangeTest, IsNotOfWhatIsReadInFloat) {
  const OnnxModel model = tiny_model();
  EXPECT_THAT(shifted(model, FullRange::kBlocks, {"layer1.1.conv1", "fc"}),
              UnorderedElementsAre("layer1.1.relu3", "layer2.0.relu3", "layer3.0.relu3"));
  EXPECT_THAT(shifted(model, FullRange::kBlocks, {"layer1.1.conv3"}),  // its addition is no longer fused
              UnorderedElementsAre("layer2.0.relu3", "layer3.0.relu3", "flatten"));
  OnnxModel with_output = tiny_model();
  with_output.impl().proto.mutable_graph()->add_output()->set_name("layer1.0.relu3");
  EXPECT_THAT(shifted(with_output, FullRange::kBlocks),
              UnorderedElementsAre("layer1.1.relu3", "layer2.0.relu3", "layer3.0.relu3", "flatten"));
}

TEST(FullRangeTest, IsNotOfWhatHasAnotherActivation) {
  OnnxModel model = tiny_model();
  node_named(model, "layer2.0.relu3").set_op_type("Sigmoid");
  EXPECT_THAT(shifted(model, FullRange::kBlocks),
              UnorderedElementsAre("layer1.0.relu3", "layer1.1.relu3", "layer3.0.relu3", "flatten"));
}

TEST(FullRangeTest, IsNamed) {
  for (const FullRange which : {FullRange::kOff, FullRange::kBlocks, FullRange::kAll})
    EXPECT_EQ(full_range_named(name_of(which)), which);
  EXPECT_THROW(full_range_named("some"), Error);
}

/// The tiny model in INT8, and what its biases and weights are.
class Inserted {
 public:
  explicit Inserted(FullRange which) : model_(tiny_model()) {
    QuantizeOptions options;
    options.range.method = RangeMethod::kMax;
    options.correct_bias = false;
    options.full_range = which;
    report = insert_qdq(model_, made_up(model_), options);
  }
  std::vector<double> values(const std::string& name) const {
    for (const auto& tensor : model_.impl().proto.graph().initializer())
      if (tensor.name() == name) return doubles_of(tensor);
    throw std::runtime_error("no weight " + name);
  }
  double constant(const std::string& tensor) const { return 128 * values(tensor + "_scale").front(); }
  /// Of each output channel: the sum of the weights as they are used.
  std::vector<double> sums(const std::string& layer) const {
    const auto scales = values(layer + ".weight_scale");
    std::vector<double> result;
    for (const auto& tensor : model_.impl().proto.graph().initializer()) {
      if (tensor.name() != layer + ".weight_int8") continue;
      const std::size_t row = tensor.raw_data().size() / scales.size();
      for (std::size_t o = 0; o < scales.size(); ++o) {
        const auto* at = reinterpret_cast<const std::int8_t*>(tensor.raw_data().data()) + o * row;
        result.push_back(std::accumulate(at, at + row, 0) * scales[o]);
      }
    }
    return result;
  }
  int nodes(const std::string& op) const {
    const auto& all = model_.impl().proto.graph().node();
    return static_cast<int>(
        std::count_if(all.begin(), all.end(), [&](const auto& node) { return node.op_type() == op; }));
  }

  QuantizeReport report;

 private:
  OnnxModel model_;
};

TEST(FullRangeTest, MovesTheConstantsIntoBiases) {
  const Inserted half(FullRange::kOff), full(FullRange::kAll);
  EXPECT_NEAR(full.constant("maxpool"), half.constant("maxpool") * 127 / 255, 1e-6);
  const double stem = full.constant("maxpool"), first = full.constant("layer1.0.relu3"),
               second = full.constant("layer1.1.relu3"), features = full.constant("flatten");
  const auto moved = [&](const std::string& layer, double reads, double adds, double writes) {
    const auto before = half.values(layer + ".bias"), after = full.values(layer + ".bias_corrected"),
               sums = full.sums(layer);
    ASSERT_EQ(before.size(), after.size()) << layer;
    for (std::size_t o = 0; o < before.size(); ++o)
      EXPECT_NEAR(after[o], before[o] + reads * sums[o] + adds - writes, 1e-4 * (1 + std::fabs(after[o]))) << layer;
  };
  moved("conv1", 0, 0, stem);
  moved("layer1.0.conv1", stem, 0, 0);
  moved("layer1.0.downsample.0", stem, 0, 0);
  moved("layer1.0.conv3", 0, 0, first);
  moved("layer1.1.conv1", first, 0, 0);
  moved("layer1.1.conv3", 0, first, second);
  moved("fc", features, 0, 0);
  EXPECT_NEAR(full.values("flatten_half").front(), features, 1e-6);
}

TEST(FullRangeTest, LeavesOutRelusAndSubtractsOnce) {
  const Inserted half(FullRange::kOff), full(FullRange::kAll);
  EXPECT_EQ(half.nodes("Relu") - full.nodes("Relu"), 5);
  EXPECT_EQ(full.nodes("Sub"), 1);
  EXPECT_EQ(half.nodes("QuantizeLinear"), full.nodes("QuantizeLinear"));
  const auto count = [](const Inserted& model) {
    const auto& all = model.report.quantized;
    return std::count_if(all.begin(), all.end(), [](const QuantizedNode& node) { return node.full_range; });
  };
  EXPECT_EQ(count(half), 0);
  EXPECT_EQ(count(full), 2 + 1 + 2 + 2 + 2 + 1);  // readers of the stem, of four blocks, of the features
}

TEST(FullRangeTest, FitsWhereFewValuesAreLarge) {
  TensorStatistics statistics;
  Tensor values = Tensor::zeros(DType::kFloat32, {1, 1, 100});
  for (std::int64_t i = 0; i < 100; ++i) values.floats()[static_cast<std::size_t>(i)] = i < 5 ? 0.75f : 0.25f;
  statistics.add(values.view(), "x");
  EXPECT_TRUE(fits_full_range(statistics, 1));
  values.floats()[5] = 0.75f;
  TensorStatistics more;
  more.add(values.view(), "x");
  EXPECT_FALSE(fits_full_range(more, 1));
  EXPECT_TRUE(fits_full_range(more, 2));
  EXPECT_FALSE(fits_full_range(statistics, 0.4));
  EXPECT_FALSE(fits_full_range({}, 0));
}

TEST(FullRangeTest, TensorsOfZerosStayAsTheyAre) {
  OnnxModel model = tiny_model();
  Calibration calibration = made_up(model);
  const auto channels = static_cast<std::int64_t>(calibration.tensors["layer1.0.relu3"].channel_max.size());
  const Tensor zeros = Tensor::zeros(DType::kFloat32, {1, channels, 4});
  calibration.tensors["layer1.0.relu3"] = {};
  calibration.tensors["layer1.0.relu3"].add(zeros.view(), "layer1.0.relu3");
  QuantizeOptions options;
  options.range.method = RangeMethod::kMax;
  insert_qdq(model, calibration, options);
  EXPECT_EQ(node_named(model, "layer1.0.relu3").op_type(), "Relu");
  EXPECT_THROW(node_named(model, "layer1.1.relu3"), std::runtime_error);
}

}  // namespace
}  // namespace ferry
