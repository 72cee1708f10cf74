#include "ferry/quantize.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>

#include "ferry/error.h"
#include "onnx/graph_index.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"
#include "quantize/layers.h"
#include "quantize/rounding.h"
#include "unit/quantize/tiny_model.h"

namespace ferry {
namespace {

TEST(Layers, CoverEveryConvolutionTheClassifierAndTheResiduals) {
  const OnnxModel model = tiny_model();
  const LayerPlan plan = plan_layers(model);
  EXPECT_EQ(plan.layers.size(), 1u + 5 * 3 + 4 + 1);
  EXPECT_TRUE(plan.kept.empty());
  std::map<std::string, std::string> residual;
  for (const QuantizedLayer& layer : plan.layers)
    if (!layer.residual.empty()) residual[layer.node] = layer.residual;
  EXPECT_EQ(residual.size(), 5u);
  EXPECT_EQ(residual["layer1.0.conv3"], "layer1.0.downsample.0");
  EXPECT_EQ(residual["layer1.1.conv3"], "layer1.0.relu3");
}

TEST(Layers, TheLastConvolutionWritesWhatIsPooled) {
  const OnnxModel model = tiny_model();
  std::map<std::string, std::string> pooled;
  for (const QuantizedLayer& layer : plan_layers(model).layers)
    if (!layer.pooled.empty()) pooled[layer.node] = layer.pooled;
  EXPECT_THAT(pooled, testing::ElementsAre(testing::Pair("layer4.0.conv3", "layer4.0.relu3")));
  for (const QuantizedLayer& layer : plan_layers(model, {"layer4.0.conv3"}).layers) EXPECT_EQ(layer.pooled, "");
}

TEST(Layers, KnowOtherWaysToPool) {
  onnx::NodeProto node;
  node.set_op_type("ReduceMean");
  EXPECT_FALSE(is_global_average(node));  // over everything
  auto& axes = *node.add_attribute();
  axes.set_name("axes");
  axes.set_type(onnx::AttributeProto::INTS);
  axes.add_ints(2);
  EXPECT_FALSE(is_global_average(node));
  axes.add_ints(3);
  EXPECT_TRUE(is_global_average(node));
  axes.set_ints(0, -1);
  axes.set_ints(1, -2);
  EXPECT_TRUE(is_global_average(node));
  node.set_op_type("ReduceMax");
  EXPECT_FALSE(is_global_average(node));
}

TEST(Layers, SayWhyOneIsLeftOut) {
  const OnnxModel model = tiny_model();
  const LayerPlan plan = plan_layers(model, {"fc", "layer2.0.conv2"});
  ASSERT_EQ(plan.kept.size(), 2u);
  EXPECT_EQ(plan.kept[0].node, "layer2.0.conv2");
  EXPECT_EQ(plan.kept[0].reason, "as asked");
}

TEST(Layers, NeedTheSameTensorsWhateverIsKept) {
  const OnnxModel model = tiny_model();
  const auto all = plan_layers(model).tensors();
  for (const char* kept : {"layer1.0.conv3", "layer1.0.downsample.0", "layer2.0.conv3", "conv1"})
    for (const std::string& tensor : plan_layers(model, {kept}).tensors())
      EXPECT_THAT(all, testing::Contains(tensor)) << kept;
}

const onnx::TensorProto& weight(const OnnxModel& model, const std::string& name) {
  for (const auto& tensor : model.impl().proto.graph().initializer())
    if (tensor.name() == name) return tensor;
  throw std::runtime_error("no weight " + name);
}

TEST(Insert, WritesSymmetricScalesAndRoundedWeights) {
  OnnxModel model = tiny_model();
  const Calibration calibration = made_up(model);
  const auto original = doubles_of(weight(model, "layer1.0.conv1.weight"));
  QuantizeOptions options;
  options.range.method = RangeMethod::kMax;
  const QuantizeReport report = insert_qdq(model, calibration, options);
  EXPECT_EQ(report.quantized.size(), 21u);
  EXPECT_EQ(model.summary().precision, Precision::kInt8);

  const float range = calibration.tensors.at("maxpool").max_abs();
  EXPECT_FLOAT_EQ(static_cast<float>(doubles_of(weight(model, "maxpool_scale"))[0]), range / 127);
  const auto scales = doubles_of(weight(model, "layer1.0.conv1.weight_scale"));
  const std::string& rounded = weight(model, "layer1.0.conv1.weight_int8").raw_data();
  ASSERT_EQ(scales.size(), 4u);
  ASSERT_EQ(rounded.size(), original.size());
  const std::size_t row = original.size() / 4;
  for (std::size_t o = 0; o < 4; ++o) {
    double largest = 0;
    for (std::size_t i = 0; i < row; ++i) largest = std::max(largest, std::fabs(original[o * row + i]));
    EXPECT_NEAR(scales[o], largest / 127, 1e-9);
    for (std::size_t i = 0; i < row; ++i)
      EXPECT_NEAR(static_cast<std::int8_t>(rounded[o * row + i]) * scales[o], original[o * row + i], scales[o] * 0.501);
  }
}

TEST(Insert, RoundsTheFirstWeightsToSevenBitsOrAsAsked) {
  const auto insert = [](int bits) {
    OnnxModel made = tiny_model();
    QuantizeOptions options;
    options.first_layer_bits = bits;
    insert_qdq(made, made_up(made), options);
    return made;
  };
  OnnxModel model = tiny_model();
  insert_qdq(model, made_up(model), {});
  const auto largest = [&](const std::string& layer) {
    int most = 0;
    for (const char value : weight(model, layer + ".weight_int8").raw_data())
      most = std::max(most, std::abs(static_cast<int>(static_cast<std::int8_t>(value))));
    return most;
  };
  EXPECT_EQ(largest("conv1"), 63);
  EXPECT_EQ(largest("layer1.0.conv1"), 127);
  EXPECT_EQ(largest("fc"), 127);
  model = insert(8);
  EXPECT_EQ(largest("conv1"), 127);
  EXPECT_THROW(insert(6), Error);
}

TEST(Insert, RoundsTheWeightsThatMeetThePictureTogether) {
  const auto insert = [](const PictureMoments& picture) {
    OnnxModel model = tiny_model();
    Calibration calibration = made_up(model);
    calibration.picture = picture;
    const QuantizeReport report = insert_qdq(model, calibration, {});
    return std::make_pair(std::move(model), report);
  };
  const auto [together, report] = insert(slow_pictures());
  const auto [alone, report_alone] = insert({});
  EXPECT_TRUE(report.notes.empty());
  EXPECT_THAT(report_alone.notes, testing::Contains(testing::HasSubstr("conv1: weights rounded one by one")));
  ASSERT_EQ(report.quantized[0].node, "conv1");
  const auto power = [&](const OnnxModel& model) {  // of what the errors add to a value of the output
    const auto floats = doubles_of(weight(tiny_model(), "conv1.weight"));
    const auto scales = doubles_of(weight(model, "conv1.weight_scale"));
    const std::string& rounded = weight(model, "conv1.weight_int8").raw_data();
    const JointRounding moments(window_moments(slow_pictures(), 7, 7, 1, 1));
    const std::size_t row = rounded.size() / scales.size();
    double sum = 0;
    for (std::size_t o = 0; o < scales.size(); ++o) {
      std::vector<double> error(row);
      for (std::size_t i = 0; i < row; ++i) {
        error[i] = static_cast<std::int8_t>(rounded[o * row + i]) * scales[o] - floats[o * row + i];
        EXPECT_LE(std::abs(static_cast<int>(static_cast<std::int8_t>(rounded[o * row + i]))), 63);
      }
      sum += moments.power(error);
    }
    return sum;
  };
  EXPECT_LT(power(together), 0.3 * power(alone));
  EXPECT_EQ(weight(together, "fc.weight_int8").raw_data(), weight(alone, "fc.weight_int8").raw_data());
}

TEST(Insert, CorrectsTheBiasByTheMeanErrorOfTheWeights) {
  OnnxModel model = tiny_model();
  const Calibration calibration = made_up(model);
  const auto before = doubles_of(weight(model, "fc.bias"));
  const auto floats = doubles_of(weight(model, "fc.weight"));
  QuantizeOptions options;
  options.full_range = FullRange::kOff;  // its constants go into biases too
  insert_qdq(model, calibration, options);
  const auto after = doubles_of(weight(model, "fc.bias_corrected"));
  const auto scales = doubles_of(weight(model, "fc.weight_scale"));
  const std::string& rounded = weight(model, "fc.weight_int8").raw_data();
  const auto& mean = calibration.tensors.at("flatten").channel_mean;
  for (std::size_t o = 0; o < after.size(); ++o) {
    double shift = 0;
    for (std::size_t i = 0; i < mean.size(); ++i)
      shift +=
          (static_cast<std::int8_t>(rounded[o * mean.size() + i]) * scales[o] - floats[o * mean.size() + i]) * mean[i];
    EXPECT_NEAR(after[o], before[o] - shift, 1e-6);
  }
}

TEST(Insert, QuantisesAResidualOnceForAllItsReaders) {
  OnnxModel model = tiny_model();
  insert_qdq(model, made_up(model), {});
  onnx::GraphProto& graph = *model.impl().proto.mutable_graph();
  const GraphIndex index(graph);
  EXPECT_EQ(index.consumers("layer1.0.relu3_dq").size(), 2u);  // the next convolution and the addition
  EXPECT_EQ(index.consumers("layer1.0.add").size(), 1u);       // the Q, which ends where relu would
}

TEST(Insert, QuantisesWhatTheLastPoolingReads) {
  OnnxModel model = tiny_model();
  insert_qdq(model, made_up(model), {});
  const GraphIndex index(*model.impl().proto.mutable_graph());
  ASSERT_EQ(index.consumers("layer4.0.relu3").size(), 1u);
  EXPECT_EQ(index.consumers("layer4.0.relu3").front()->op_type(), "QuantizeLinear");
  ASSERT_EQ(index.consumers("layer4.0.relu3_dq").size(), 1u);
  EXPECT_EQ(index.consumers("layer4.0.relu3_dq").front()->op_type(), "GlobalAveragePool");
}

TEST(Insert, KeepsWhatItIsTold) {
  OnnxModel model = tiny_model();
  QuantizeOptions options;
  options.keep = {"conv1"};
  const QuantizeReport report = insert_qdq(model, made_up(model), options);
  EXPECT_EQ(report.quantized.size(), 20u);
  ASSERT_EQ(report.kept.size(), 1u);
  EXPECT_EQ(report.kept[0].reason, "FP16, as asked");
  EXPECT_EQ(weight(model, "conv1.weight.fp16").data_type(), onnx::TensorProto::FLOAT16);
  EXPECT_THROW(weight(model, "conv1.weight"), std::runtime_error);  // nobody reads it any more
  const GraphIndex index(*model.impl().proto.mutable_graph());
  EXPECT_EQ(index.producer("conv1")->op_type(), "Cast");  // back to float32 for what follows
}

TEST(Insert, LeavesWhatFp16CannotHoldInFp32) {
  OnnxModel model = tiny_model();
  for (auto& tensor : *model.impl().proto.mutable_graph()->mutable_initializer())
    if (tensor.name() == "conv1.weight") floats_of(tensor)[0] = 1e6f;
  QuantizeOptions options;
  options.keep = {"conv1"};
  const QuantizeReport report = insert_qdq(model, made_up(model), options);
  EXPECT_THAT(report.kept[0].reason, testing::HasSubstr("FP32"));
  EXPECT_EQ(weight(model, "conv1.weight").data_type(), onnx::TensorProto::FLOAT);
}

TEST(Insert, RefusesToKeepWhatIsNotThere) {
  OnnxModel model = tiny_model();
  QuantizeOptions options;
  options.keep = {"conv7"};
  EXPECT_THROW(insert_qdq(model, made_up(model), options), Error);
}

TEST(Insert, RefusesAForeignCalibration) {
  OnnxModel model = tiny_model();
  Calibration calibration = made_up(model);
  calibration.tensors.erase("maxpool");
  EXPECT_THROW(insert_qdq(model, calibration, {}), Error);
  calibration = made_up(model);
  calibration.tensors["maxpool"] = calibration.tensors["flatten"];
  OnnxModel again = tiny_model();
  EXPECT_THROW(insert_qdq(again, calibration, {}), Error);
}

TEST(Insert, NotesDeadTensorsAndChannels) {
  OnnxModel model = tiny_model();
  Calibration calibration = made_up(model);
  TensorStatistics zeros;
  zeros.add(Tensor::zeros(DType::kFloat32, {1, 8, 4}).view(), "maxpool");
  calibration.tensors["maxpool"] = zeros;
  calibration.tensors["layer1.0.relu1"].channel_max[2] = 0;
  calibration.picture = slow_pictures();
  const QuantizeReport report = insert_qdq(model, calibration, {});
  EXPECT_THAT(report.notes, testing::ElementsAre("maxpool was zero in every picture",
                                                 "layer1.0.relu1: 1 of 4 channels were zero in every picture"));
}

TEST(Equalise, LowersThePredictedNoiseOfEveryGroupItChanges) {
  OnnxModel model = tiny_model();
  const Calibration calibration = made_up(model);
  const auto groups = equalise(model, calibration);
  EXPECT_FALSE(groups.empty());
  for (const EqualisedGroup& group : groups) EXPECT_LT(group.noise_after, group.noise_before);
  model.check();
}

TEST(Equalise, ScalesWritersAndReadersAgainstEachOther) {
  OnnxModel model = tiny_model();
  const OnnxModel before = model.clone();
  equalise(model, made_up(model));
  // layer1.0.relu1 lies between conv1 and conv2 alone: what both did to channel c cancels, but for what the groups
  // around them did to the one input of conv1 and the one output of conv2 that are looked at.
  const auto was1 = doubles_of(weight(before, "layer1.0.conv1.weight")),
             is1 = doubles_of(weight(model, "layer1.0.conv1.weight"));
  const auto was2 = doubles_of(weight(before, "layer1.0.conv2.weight")),
             is2 = doubles_of(weight(model, "layer1.0.conv2.weight"));
  const std::size_t inputs = was1.size() / 4;
  bool changed = false;
  const auto writer = [&](std::size_t c) { return is1[c * inputs] / was1[c * inputs]; };
  const auto reader = [&](std::size_t c) { return is2[c * 9] / was2[c * 9]; };
  for (std::size_t c = 1; c < 4; ++c) {
    EXPECT_NEAR(writer(c) * reader(c), writer(0) * reader(0), 1e-5);
    changed |= std::fabs(writer(c) - writer(0)) > 0.01;
  }
  EXPECT_TRUE(changed);
}

}  // namespace
}  // namespace ferry
