#include "ferry/quantize.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "ferry/error.h"
#include "ferry/resnet.h"
#include "onnx/graph_index.h"
#include "onnx/model_impl.h"
#include "onnx/tensor_proto.h"
#include "quantize/layers.h"
#include "quantize/rounding.h"
#include "unit/image/fixtures.h"

namespace ferry {
namespace {

ResNetArchitecture tiny() {
  ResNetArchitecture net;
  net.depths = {2, 1, 1, 1};
  net.planes = net.widths = {4, 4, 8, 8};
  net.stem_channels = 8;
  net.num_classes = 5;
  return net;
}

OnnxModel tiny_model() { return export_onnx(random_resnet(tiny(), 3), {}); }

// Statistics that a model of this size could have had, without running it.
Calibration made_up(const OnnxModel& model) {
  Calibration calibration;
  const onnx::GraphProto& graph = model.impl().proto.graph();
  const LayerPlan plan = plan_layers(model);
  std::map<std::string, std::int64_t> channels;
  for (const QuantizedLayer& layer : plan.layers) {
    for (const auto& tensor : graph.initializer())
      if (tensor.name() == layer.weight) {
        channels[layer.input] = tensor.dims(1);
        for (const std::string& written : {layer.residual, layer.pooled})
          if (!written.empty()) channels[written] = tensor.dims(0);
      }
  }
  std::uint64_t seed = 1;
  for (const auto& [name, count] : channels) {
    Tensor values = Tensor::random_normal({1, count, 64}, seed++);
    for (std::int64_t c = 0; c < count; ++c)  // channels of very different size
      for (int i = 0; i < 64; ++i) values.floats()[c * 64 + i] *= std::exp2f(static_cast<float>(c % 5));
    calibration.tensors[name].add(values.view(), name);
  }
  calibration.images = 1;
  return calibration;
}

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

// Pictures that change slowly from pixel to pixel, as photographs do.
PictureMoments slow_pictures() {
  Tensor pictures = Tensor::random_normal({4, 3, 24, 24}, 9);
  const std::span<float> values = pictures.floats();
  for (std::size_t i = 1; i < values.size(); ++i) values[i] = 0.95f * values[i - 1] + 0.1f * values[i];
  PictureMoments moments;
  moments.add(pictures.view(), 2);
  return moments;
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
  insert_qdq(model, calibration, {});
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
  EXPECT_EQ(index.consumers("layer1.0.relu3").size(), 1u);     // the Q
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

TEST(CalibrationFiles, ComeBackAsTheyWere) {
  const OnnxModel model = tiny_model();
  CalibrationFile file{"abc", made_up(model), made_up(model)};
  file.ranges.broken.push_back({"x.jpg", "truncated"});
  file.ranges.picture = slow_pictures();
  const CalibrationFile back = calibration_file_from_json(to_json(file), "file");
  EXPECT_EQ(back.ranges.picture.sums, file.ranges.picture.sums);
  EXPECT_EQ(back.ranges.picture.places, file.ranges.picture.places);
  EXPECT_TRUE(back.channels->picture.empty());
  EXPECT_EQ(back.model_sha256, "abc");
  ASSERT_TRUE(back.channels);
  EXPECT_EQ(back.ranges.broken.size(), 1u);
  ASSERT_EQ(back.ranges.tensors.size(), file.ranges.tensors.size());
  for (const auto& [name, s] : file.ranges.tensors) {
    const TensorStatistics& other = back.ranges.tensors.at(name);
    EXPECT_EQ(other.bins, s.bins);
    EXPECT_EQ(other.channel_max, s.channel_max);
    EXPECT_EQ(range_of(other, {}), range_of(s, {}));
  }
}

TEST(CalibrationFiles, OfBeforeHaveNoMomentsAndOthersTheRightNumber) {
  CalibrationFile file{"abc", std::nullopt, made_up(tiny_model())};
  file.ranges.picture = slow_pictures();
  auto json = nlohmann::json::parse(to_json(file));
  json["ranges"]["picture"]["sums"].erase(0);
  EXPECT_THROW(calibration_file_from_json(json.dump(), "x.json"), Error);
  json["ranges"].erase("picture");
  EXPECT_TRUE(calibration_file_from_json(json.dump(), "x.json").ranges.picture.empty());
}

TEST(CalibrationFiles, RefuseOtherContent) {
  for (const char* text :
       {"", "{}", "[1]", R"({"ferry_calibration":2})", R"({"ferry_calibration":1,"model_sha256":3})"})
    EXPECT_THROW(calibration_file_from_json(text, "x.json"), Error) << text;
}

TEST(Quantize, RefusesAFileOfAnotherModel) {
  const OnnxModel model = tiny_model();
  EXPECT_THROW(quantize(model, CalibrationFile{"abc", std::nullopt, made_up(model)}, {}), Error);
}

class Gather : public testing::Test {
 protected:
  Gather() {
    options.loader.preprocessing.resize = 20;
    options.loader.preprocessing.crop = 16;
    options.loader.batch = 2;
    options.loader.threads = 2;
    for (const char* name : {"baseline.jpg", "missing.jpg", "tall.png", "grey.jpg"})
      images.items.push_back({fixture(name), -1});
  }
  static std::vector<Tensor> same(const TensorView& batch) {
    std::vector<Tensor> values;
    values.push_back(Tensor::copy_of(batch));
    return values;
  }
  CalibrateOptions options;
  ImageSet images;
};

TEST_F(Gather, AddsEveryPictureUp) {
  const Calibration calibration = gather({"input"}, same, images, options);
  EXPECT_EQ(calibration.images, 3);
  EXPECT_EQ(calibration.broken.size(), 1u);
  EXPECT_EQ(calibration.tensors.at("input").count, 3u * 3 * 16 * 16);
  EXPECT_EQ(calibration.picture.places, 3u * 16 * 16);
  options.loader.batch = 3;
  options.loader.threads = 1;
  EXPECT_EQ(gather({"input"}, same, images, options).tensors.at("input").bins, calibration.tensors.at("input").bins);
}

TEST_F(Gather, WorksOnOnePictureAndOnADrawnPart) {
  images.items = {images.items[0], images.items[2], images.items[3]};
  options.max_images = 1;
  EXPECT_EQ(gather({"input"}, same, images, options).images, 1);
  options.max_images = 2;
  const Calibration a = gather({"input"}, same, images, options), b = gather({"input"}, same, images, options);
  EXPECT_EQ(a.images, 2);
  EXPECT_EQ(a.tensors.at("input").bins, b.tensors.at("input").bins);
}

TEST_F(Gather, SaysWhatIsWrong) {
  const auto why = [&](const TensorRunner& run) -> std::string {
    try {
      gather({"layer4.relu"}, run, images, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing";
  };
  EXPECT_THAT(why([](const TensorView& batch) {
                std::vector<Tensor> values = same(batch);
                values[0].floats()[7] = std::nanf("");
                return values;
              }),
              testing::AllOf(testing::HasSubstr("layer4.relu"), testing::HasSubstr("NaN")));
  EXPECT_THAT(why([](const TensorView&) { return std::vector<Tensor>(); }), testing::HasSubstr("0 tensors"));
  images.items = {images.items[1]};
  EXPECT_THAT(why(same), testing::HasSubstr("none of the 1 pictures"));
  images.items.clear();
  EXPECT_THAT(why(same), testing::HasSubstr("no pictures"));
}

TEST(WithOutputs, ExposesTensorsInOrder) {
  const OnnxModel model = with_outputs(tiny_model(), {"layer1.0.relu1", "maxpool"});
  const OnnxSummary summary = model.summary();
  ASSERT_EQ(summary.outputs.size(), 2u);
  EXPECT_EQ(summary.outputs[0].name, "layer1.0.relu1");
  EXPECT_EQ(summary.outputs[1].shape, (Shape{-1, 8, 56, 56}));
  EXPECT_THROW(with_outputs(model, {"nothing"}), Error);
}

}  // namespace
}  // namespace ferry
