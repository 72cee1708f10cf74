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
