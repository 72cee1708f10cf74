// Profiles: medians of what the SDK reports, joined with what the inspector says.
#include "nvinfer/layers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda_support/peaks.h"
#include "fake_driver.h"

namespace ferry::nvinfer {
namespace {

using ::testing::HasSubstr;

// As TensorRT 10 writes it for an engine with two profiles.
constexpr const char* kInspector = R"({"Layers":[
 {"Name":"conv1 + relu [profile 1]","LayerType":"CaskConvolution","ParameterType":"Convolution",
  "Inputs":[{"Name":"x","Dimensions":[-1,3,224,224],"Format/Datatype":"Half"}],
  "Outputs":[{"Name":"y","Dimensions":[-1,64,112,112],"Format/Datatype":"Channel major FP16 format where channel % 8 == 0"}],
  "Weights":{"Type":"Half","Count":9408},"TacticName":"sm90_xmma_fprop"},
 {"Name":"pool","LayerType":"CaskPooling","Inputs":[{"Dimensions":[8,64,112,112],"Format/Datatype":"Half"}],
  "Outputs":[{"Dimensions":[8,64,56,56],"Format/Datatype":"Half"}]},
 {"Name":"fc","LayerType":"gemm","Inputs":[{"Dimensions":[8,2048],"Format/Datatype":"Half"}],
  "Outputs":[{"Dimensions":[8,1000],"Format/Datatype":"Half"}]},
 {"Name":"odd","LayerType":7,"Inputs":[3],"Outputs":[{"Dimensions":["N",4],"Format/Datatype":"Half"}]}]})";

TEST(Layers, AConvolutionsWorkFollowsFromItsWeightsAndItsOutput) {
  const auto layers = join_layers(kInspector, {{"conv1 + relu [profile 1]", 0.5}}, 8).at("layers");
  ASSERT_EQ(layers.size(), 1u);
  EXPECT_EQ(layers[0]["name"], "conv1 + relu");
  EXPECT_EQ(layers[0]["kernel"], "sm90_xmma_fprop");
  EXPECT_EQ(layers[0]["precision"], "Half");
  EXPECT_EQ(layers[0]["ms"], 0.5);
  EXPECT_EQ(layers[0]["flops"], 2.0 * 9408 * 8 * 112 * 112);
  EXPECT_EQ(layers[0]["bytes"], 2.0 * (8 * 3 * 224 * 224 + 8 * 64 * 112 * 112 + 9408));
}

TEST(Layers, TheProfilersNameMayLackTheProfile) {
  EXPECT_EQ(join_layers(kInspector, {{"conv1 + relu", 1}}, 1)["layers"][0]["kind"], "CaskConvolution");
  EXPECT_EQ(join_layers(kInspector, {{"pool [profile 1]", 1}}, 1)["layers"][0]["kind"], "CaskPooling");
}

// Three profiles: the same layer with another kernel in each. The first convolution is fused with the pooling, and INT8
// layers lie between a quantising copy and the classifier.
constexpr const char* kProfiles = R"({"Layers":[
 {"Name":"conv1 + relu + maxpool","LayerType":"CaskConvActPool","ParameterType":"ConvActPool","Kernel":[7,7],"Stride":[2,2],
  "Inputs":[{"Dimensions":[-1,3,224,224],"Format/Datatype":"Channel major FP16 format where channel % 4 == 0"}],
  "Outputs":[{"Dimensions":[-1,64,56,56],"Format/Datatype":"Channel major FP16 format where channel % 8 == 0"}],
  "Weights":{"Type":"Half","Count":9408},"TacticName":"for_1"},
 {"Name":"conv1 + relu + maxpool [profile 1]","LayerType":"CaskConvActPool","ParameterType":"ConvActPool","Stride":[2,2],
  "Inputs":[{"Dimensions":[-1,3,224,224],"Format/Datatype":"Half"}],
  "Outputs":[{"Dimensions":[-1,64,56,56],"Format/Datatype":"Half"}],"Weights":{"Type":"Half","Count":9408},"TacticName":"for_8"},
 {"Name":"conv1 + relu + maxpool [profile 2]","LayerType":"CaskConvActPool",
  "Inputs":[{"Dimensions":[-1,3,224,224],"Format/Datatype":"Half"}],
  "Outputs":[{"Dimensions":[-1,64,56,56],"Format/Datatype":"Half"}],"Weights":{"Type":"Half","Count":9408},"TacticName":"for_32"},
 {"Name":"layer1.0.conv1 + relu","LayerType":"CaskGemmConvolution","ParameterType":"Convolution","Stride":[1,1],
  "Inputs":[{"Dimensions":[-1,64,56,56],"Format/Datatype":"Thirty-two wide channel vectorized row major Int8 format"}],
  "Outputs":[{"Dimensions":[-1,64,56,56],"Format/Datatype":"Thirty-two wide channel vectorized row major Int8 format"}],
  "Weights":{"Type":"Int8","Count":4096},"TacticName":"imma"},
 {"Name":"Reformatting CopyNode for Input Tensor 0 to conv1","LayerType":"Reformat",
  "Inputs":[{"Dimensions":[-1,3,224,224],"Format/Datatype":"Row major linear FP32"}],
  "Outputs":[{"Dimensions":[-1,3,224,224],"Format/Datatype":"Half"}],"TacticName":"0x3e8"}]})";

TEST(Layers, AFusedPoolingDoesNotHideThreeQuartersOfTheWork) {
  const auto layer = join_layers(kProfiles, {{"conv1 + relu + maxpool", 1}}, 8)["layers"][0];
  EXPECT_EQ(layer["flops"], 2.0 * 9408 * 8 * 112 * 112);
  EXPECT_EQ(layer["bytes"], 2.0 * (8 * 3 * 224 * 224 + 8 * 64 * 56 * 56 + 9408));
  const auto untold = join_layers(kProfiles, {{"conv1 + relu + maxpool", 1}}, 8, 2)["layers"][0];
  EXPECT_EQ(untold["kernel"], "for_32");
  EXPECT_TRUE(untold["flops"].is_null()) << "without a stride it is not known";
}

TEST(Layers, EachProfileHasItsOwnKernels) {
  const auto kernel = [](const char* name, int profile) {
    return join_layers(kProfiles, {{name, 1}}, 8, profile)["layers"][0]["kernel"].get<std::string>();
  };
  EXPECT_EQ(kernel("conv1 + relu + maxpool", 0), "for_1");
  EXPECT_EQ(kernel("conv1 + relu + maxpool", 1), "for_8");
  EXPECT_EQ(kernel("conv1 + relu + maxpool [profile 1]", 1), "for_8");
  EXPECT_EQ(kernel("conv1 + relu + maxpool [profile 2]", 2), "for_32");
}

TEST(Layers, Int8LayersAreCountedAsSuch) {
  const auto layers = join_layers(
      kProfiles, {{"Reformatting CopyNode for Input Tensor 0 to conv1", 1}, {"layer1.0.conv1 + relu", 1}}, 4)["layers"];
  EXPECT_EQ(layers[1]["precision"], "Int8");
  EXPECT_EQ(layers[1]["flops"], 2.0 * 4096 * 4 * 56 * 56);
  EXPECT_EQ(layers[1]["bytes"], 2.0 * 4 * 64 * 56 * 56 + 4096);
  EXPECT_TRUE(layers[0]["flops"].is_null());
  EXPECT_EQ(layers[0]["bytes"], (4.0 + 2.0) * 4 * 3 * 224 * 224);
}

TEST(Layers, AProductOfMatricesCountsByItsRows) {
  const auto layer = join_layers(kInspector, {{"fc", 1}}, 8)["layers"][0];
  EXPECT_EQ(layer["flops"], 2.0 * 8 * 2048 * 1000);
  EXPECT_TRUE(layer["kernel"].is_null());
}

TEST(Layers, WhatIsNotToldIsNull) {
  for (const char* name : {"odd", "never heard of"}) {
    const auto layer = join_layers(kInspector, {{name, 1}}, 8)["layers"][0];
    EXPECT_EQ(layer["ms"], 1);
    for (const char* key : {"kind", "kernel", "flops", "bytes"}) EXPECT_TRUE(layer[key].is_null()) << name << key;
  }
  EXPECT_TRUE(join_layers(kInspector, {{"pool", 1}}, 8)["layers"][0]["flops"].is_null());
  for (const char* text : {"", "[]", "{\"Layers\":[\"names only\"]}"})
    EXPECT_EQ(join_layers(text, {{"conv1", 1}}, 8)["layers"].size(), 1u) << text;
}

TEST(Layers, MediansAreTakenByPositionAndOddRunsLeftOut) {
  const std::vector<LayerSample> one{{"a", 1}, {"a", 10}}, two{{"a", 2}, {"a", 20}}, three{{"a", 9}, {"a", 30}};
  const auto result = medians({one, {{"a", 100}}, three, two});
  ASSERT_EQ(result.size(), 2u);
  EXPECT_EQ(result[0].ms, 2);
  EXPECT_EQ(result[1].ms, 20);
  EXPECT_TRUE(medians({}).empty());
}

TEST(Peaks, FollowClockMultiprocessorsAndBus) {
  ferry::testing::FakeDriver::get().reset();
  const cuda::Peaks peaks = cuda::peaks(0);  // the fake card: as an RTX 4060
  EXPECT_DOUBLE_EQ(peaks.flops_per_second.at("Half"), 2.535e9 * 24 * 512);
  EXPECT_NEAR(peaks.bytes_per_second, 272e9, 1e9);
  EXPECT_TRUE(cuda::peaks(1).flops_per_second.empty()) << "there is no such card";
  EXPECT_EQ(cuda::per_clock(9, 0).half, 4096);
  EXPECT_EQ(cuda::per_clock(3, 0).half, 0);
}

}  // namespace
}  // namespace ferry::nvinfer
