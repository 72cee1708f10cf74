// INT8 networks: reading Q/DQ, packing, and what the emulated kernel makes of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <random>

#include "cuda/pack.h"
#include "cuda/program.h"
#include "cuda/weights.h"
#include "ferry/quantize.h"
#include "gpu/latency_emulator.h"
#include "gpu/onnx_writer.h"
#include "gpu/resnet_onnx.h"
#include "nvinfer/failure.h"
#include "unit/latency/emulated_run.h"
#include "unit/latency/models.h"

namespace ferry::latency {
namespace {

using ferry::testing::ResNetSpec;
using ::testing::HasSubstr;
namespace onnx = ferry::testing::onnx;

constexpr Machine kCard{132, 227 << 10};

ResNetSpec small(bool int8, bool bottleneck = true) {
  return {{1, 2, 1, 1}, {32, 64, 96, 128}, 64, 24, 64, 64, bottleneck, int8};
}

double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  double wrong = 0, all = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    wrong += std::pow(got[i] - want[i], 2);
    all += std::pow(want[i], 2);
  }
  return std::sqrt(wrong / all);
}

TEST(Int8, ANetworkGivesWhatItsFp16TwinGives) {
  for (const bool bottleneck : {true, false})
    for (const int images : {1, 3}) {
      const std::vector<float> exact = emulated_run(ferry::testing::resnet_onnx(small(false, bottleneck), 5), images,
                                                    kCard),
                               rounded =
                                   emulated_run(ferry::testing::resnet_onnx(small(true, bottleneck), 5), images, kCard);
      const double error = relative_error(rounded, exact);
      EXPECT_LE(error, 0.06);
      EXPECT_GE(error, 1e-4) << "nothing was rounded";
    }
}

/// Channels of every value of a float model, by name.
std::map<std::string, std::size_t> channels_of(const std::string& model) {
  const OnnxGraph graph = read_onnx(model);
  std::map<std::string, std::size_t> channels{{"input", 3}};
  for (const Node& node : graph.nodes) {
    const auto weight = node.inputs.size() > 1 ? graph.weights.find(node.inputs[1]) : graph.weights.end();
    channels[node.outputs[0]] =
        weight != graph.weights.end() ? static_cast<std::size_t>(weight->second.dims[0]) : channels[node.inputs[0]];
  }
  return channels;
}

/// A small network by ferry quantize, with made-up statistics.
std::string quantised(FullRange full_range) {
  ResNetArchitecture architecture;
  architecture.depths = {1, 2, 1, 1};
  architecture.planes = architecture.widths = {16, 16, 24, 32};
  architecture.stem_channels = 16;
  architecture.num_classes = 24;
  ExportOptions as;
  as.height = as.width = 64;
  OnnxModel model = export_onnx(random_resnet(architecture, 7), as);
  auto channels = channels_of(model.serialize());
  Calibration calibration;
  Tensor values = Tensor::random_normal({1, 1, 64}, 1);
  for (float& value : values.floats()) value *= 0.2F;
  values.floats()[0] = 2.5F;  // few are large, or the full range would not be taken
  for (const std::string& tensor : tensors_to_calibrate(model)) calibration.tensors[tensor].add(values.view(), tensor);
  for (auto& [name, statistics] : calibration.tensors) {
    statistics.channel_max.assign(channels[name], 1);
    statistics.channel_mean.assign(channels[name], 0);
    statistics.channel_power.assign(channels[name], 1);
  }
  calibration.images = 1;
  QuantizeOptions options;
  options.full_range = full_range;
  insert_qdq(model, calibration, options);
  return model.serialize();
}

TEST(Int8, TheFullRangeIsTheSameNetwork) {
  const std::vector<float> half = emulated_run(quantised(FullRange::kOff), 2, kCard);
  for (const FullRange which : {FullRange::kBlocks, FullRange::kAll}) {
    const double error = relative_error(emulated_run(quantised(which), 2, kCard), half);
    EXPECT_LE(error, 0.06);
    EXPECT_GE(error, 1e-4) << "nothing was rounded otherwise";
  }
}

TEST(Int8, WhatFerryQuantizesIsRead) {
  const std::string bytes = quantised(FullRange::kAll);
  const ReadLayers read = read_layers(read_onnx(bytes));
  const Layers& all = read.layers;
  ASSERT_TRUE(all.int8());
  for (std::size_t i = 0; i < all.layers.size(); ++i) {
    const Layer& layer = all.layers[i];
    if (layer.kind != LayerKind::kConv) continue;
    EXPECT_EQ(read.weights[i].scales.size(), static_cast<std::size_t>(all.out(layer).channels)) << layer.name;
    EXPECT_EQ(all.scale(layer.in) > 0, layer.in != 0) << layer.name;
    EXPECT_TRUE(layer.residual < 0 || all.scale(layer.residual) > 0) << layer.name;
  }
  EXPECT_EQ(all.scale(all.layers[all.layers.size() - 2].in), 0) << "the average reads float16";
  EXPECT_GT(read.weights.back().subtracted, 0);
  EXPECT_EQ(all.layers.front().relu, false) << "rounding to int8 ends where it would";
}

TEST(Int8, UnpackingGivesTheWeightsBackAndPaddingIsZero) {
  const std::string model = ferry::testing::resnet_onnx(small(true), 5);
  const ReadLayers read = read_layers(read_onnx(model));
  std::mt19937 random(3);
  int checked = 0;
  for (const Layer& layer : read.layers.layers) {
    if (layer.kind != LayerKind::kConv || layer.in == 0) continue;
    const int in = read.layers.in(layer).channels, out = read.layers.out(layer).channels, k = layer.kernel;
    std::string weights(static_cast<std::size_t>(in * out * k * k), '\0');
    for (char& byte : weights) byte = static_cast<char>(random() | 1);  // no byte is zero
    for (const Tile& tile : {Tile{2, 4, 4, 2, 1}, Tile{1, 1, 2, 2, 1}, Tile{1, 4, 2, 1, 1}, Tile{1, 1, 8, 1, 2}}) {
      const auto conv = describe_conv(read.layers, layer, tile, 1, kCard.shared_bytes);
      if (!conv) continue;
      ++checked;
      const std::string packed = pack_conv(*conv, out, in, k, weights);
      ASSERT_EQ(unpack_conv(*conv, out, in, k, packed), weights) << layer.name;
      const auto used = std::count_if(packed.begin(), packed.end(), [](char c) { return c != 0; });
      ASSERT_EQ(static_cast<std::size_t>(used), weights.size()) << layer.name;
    }
  }
  EXPECT_GE(checked, 20);
}

// The fragments' order, from the PTX manual: of mma.m16n8k32's matrix B a lane holds eight k of one column, in two
// registers of four neighbours.
TEST(Int8, WeightsLieAsTheTensorCoresReadThem) {
  const std::string model = ferry::testing::resnet_onnx(small(true), 5);
  const ReadLayers read = read_layers(read_onnx(model));
  const auto is_3x3 = [](const Layer& l) { return l.kind == LayerKind::kConv && l.kernel == 3; };
  const Layer& layer = *std::find_if(read.layers.layers.begin(), read.layers.layers.end(), is_3x3);
  const auto conv = describe_conv(read.layers, layer, {1, 1, 8, 1, 1}, 1, kCard.shared_bytes);
  ASSERT_TRUE(conv);
  const int in = read.layers.in(layer).channels, out = read.layers.out(layer).channels;
  std::string weights(static_cast<std::size_t>(in * out * 9), '\0');
  const auto value = [](int n, int c, int tap) { return static_cast<char>(n * 31 + c * 7 + tap); };
  for (int n = 0; n < out; ++n)
    for (int c = 0; c < in; ++c)
      for (int tap = 0; tap < 9; ++tap) weights[static_cast<std::size_t>((n * in + c) * 9 + tap)] = value(n, c, tap);
  const std::string packed = pack_conv(*conv, out, in, 3, weights);
  const int tap = 4, strip = 0;  // the first slice of the first tile of eight channels
  for (int lane = 0; lane < 32; ++lane)
    for (int product = 0; product < 2; ++product)
      for (int reg = 0; reg < 2; ++reg)
        for (int byte = 0; byte < 4; ++byte) {
          const int column = lane / 4, k = product * 32 + reg * 16 + lane % 4 * 4 + byte;
          const auto at = static_cast<std::size_t>(((tap + strip) * 32 + lane) * 16 + product * 8 + reg * 4 + byte);
          ASSERT_EQ(packed[at], k < in && column < out ? value(column, k, tap) : 0) << lane << " " << k;
        }
}

// -- refusals
std::string refusal(const Layers& layers) {
  try {
    check_layers(layers);
  } catch (const nvinfer::Failure& failure) {
    return failure.cause;
  }
  return "taken";
}

TEST(Int8, ScalesOfAPlanAreChecked) {
  const std::string model = ferry::testing::resnet_onnx(small(true), 5);
  const Layers good = read_layers(read_onnx(model)).layers;
  EXPECT_EQ(refusal(good), "taken");
  const auto with = [&](const std::function<void(Layers&)>& change) {
    Layers bad = good;
    change(bad);
    return refusal(bad);
  };
  const auto at = [](int tensor) { return static_cast<std::size_t>(tensor); };
  EXPECT_THAT(with([](Layers& l) { l.scales.pop_back(); }), HasSubstr("scales"));
  EXPECT_THAT(with([](Layers& l) { l.scales[0] = 1; }), HasSubstr("scales"));
  EXPECT_THAT(with([](Layers& l) { l.scales[3] = -1; }), HasSubstr("scales"));
  EXPECT_THAT(with([](Layers& l) { l.scales[3] = NAN; }), HasSubstr("scales"));
  EXPECT_THAT(with([&](Layers& l) { l.scales[at(l.layers[2].in)] = 0; }), HasSubstr("quantised"));
  EXPECT_THAT(with([&](Layers& l) { l.scales[at(l.layers[0].out)] *= 2; }), HasSubstr("same scale"));
  EXPECT_THAT(with([&](Layers& l) { l.scales[at(l.layers.back().in)] = 1; }), HasSubstr("no quantised values"));
}

/// A stem, max pooling, one 1x1 convolution and the head, quantised; `change` may spoil a tensor or a node.
struct Graph {
  std::map<std::string, onnx::Message> tensors, nodes;
  std::vector<std::string> order;

  Graph() {
    number("s", 0.1F);
    zero("z", 1, true);
    pair("input");
    conv("stem", "input.dq", 3, 8, 7, 2);
    op("MaxPool", "pool", {"stem"},
       {onnx::attribute("kernel_shape", {3, 3}), onnx::attribute("strides", {2, 2}),
        onnx::attribute("pads", {1, 1, 1, 1})});
    pair("pool");
    conv("next", "pool.dq", 8, 8, 1, 1);
    op("GlobalAveragePool", "average", {"next"});
    op("Flatten", "flat", {"average"}, {onnx::attribute("axis", std::int64_t{1})});
    pair("flat");
    weights("output", {5, 8});
    op("Gemm", "output", {"flat.dq", "output.w.dq"}, {onnx::attribute("transB", std::int64_t{1})});
  }
  void number(const std::string& name, float value) {
    tensors[name] = onnx::tensor(name, onnx::kFloat, {}, onnx::raw(std::vector<float>{value}));
  }
  void zero(const std::string& name, std::size_t count, bool scalar, char value = 0) {
    const std::vector<std::int64_t> shape{static_cast<std::int64_t>(count)};
    tensors[name] =
        onnx::tensor(name, onnx::kInt8, scalar ? std::vector<std::int64_t>() : shape, std::string(count, value));
  }
  void op(const std::string& type, const std::string& name, const std::vector<std::string>& in,
          const std::vector<onnx::Message>& attributes = {}) {
    if (nodes.count(name) == 0) order.push_back(name);
    nodes[name] = onnx::node(type, name, in, name, attributes);
  }
  void pair(const std::string& value) {
    op("QuantizeLinear", value + ".q", {value, "s", "z"});
    op("DequantizeLinear", value + ".dq", {value + ".q", "s", "z"});
  }
  void weights(const std::string& name, const std::vector<std::int64_t>& shape) {
    std::size_t count = 1;
    for (const std::int64_t d : shape) count *= static_cast<std::size_t>(d);
    tensors[name + ".w"] = onnx::tensor(name + ".w", onnx::kInt8, shape, std::string(count, '\1'));
    const auto rows = static_cast<std::size_t>(shape[0]);
    tensors[name + ".s"] =
        onnx::tensor(name + ".s", onnx::kFloat, {shape[0]}, onnx::raw(std::vector<float>(rows, 0.01F)));
    zero(name + ".z", rows, false);
    op("DequantizeLinear", name + ".w.dq", {name + ".w", name + ".s", name + ".z"},
       {onnx::attribute("axis", std::int64_t{0})});
  }
  void conv(const std::string& name, const std::string& in, std::int64_t from, std::int64_t to, std::int64_t kernel,
            std::int64_t stride) {
    weights(name, {to, from, kernel, kernel});
    conv_node(name, {in, name + ".w.dq"}, kernel, stride);
  }
  void conv_node(const std::string& name, const std::vector<std::string>& in, std::int64_t kernel,
                 std::int64_t stride) {
    const std::int64_t pad = kernel / 2;
    op("Conv", name, in,
       {onnx::attribute("kernel_shape", {kernel, kernel}), onnx::attribute("strides", {stride, stride}),
        onnx::attribute("pads", {pad, pad, pad, pad})});
  }
  std::string refused() const {
    onnx::Message graph;
    for (const std::string& name : order) graph.message(1, nodes.at(name));
    for (const auto& [name, tensor] : tensors) graph.message(5, tensor);
    graph.message(11, onnx::port("input", onnx::kFloat, {0, 3, 32, 32}));
    graph.message(12, onnx::port("output", onnx::kFloat, {0, 5}));
    const std::string bytes = onnx::model(graph);
    try {
      read_layers(read_onnx(bytes));
    } catch (const nvinfer::Failure& failure) {
      EXPECT_NE(failure.hint, "");
      return failure.cause;
    }
    return "taken";
  }
};

TEST(Int8, GraphsThatAreQuantisedInAnotherWayAreRefusedByName) {
  const auto with = [](const std::function<void(Graph&)>& change) {
    Graph graph;
    change(graph);
    return graph.refused();
  };
  EXPECT_EQ(Graph().refused(), "taken");
  EXPECT_EQ(with([](Graph& g) {  // what the average reads may be quantised, and is computed in FP16
              const auto at = std::find(g.order.begin(), g.order.end(), "average");
              g.order.insert(at, {"next.q", "next.dq"});
              g.nodes["next.q"] = onnx::node("QuantizeLinear", "next.q", {"next", "s", "z"}, "next.q");
              g.nodes["next.dq"] = onnx::node("DequantizeLinear", "next.dq", {"next.q", "s", "z"}, "next.dq");
              g.op("GlobalAveragePool", "average", {"next.dq"});
            }),
            "taken");
  EXPECT_THAT(with([](Graph& g) { g.zero("z", 1, true, 3); }), HasSubstr("zero points 0"));
  EXPECT_THAT(with([](Graph& g) { g.number("s", -1); }), HasSubstr("scales must be positive"));
  EXPECT_THAT(with([](Graph& g) { g.number("s", NAN); }), HasSubstr("scales must be positive"));
  EXPECT_THAT(with([](Graph& g) { g.zero("next.z", 8, false, 1); }), HasSubstr("'next.w.dq'"));
  EXPECT_THAT(with([](Graph& g) {
                g.number("other", 0.2F);
                g.op("DequantizeLinear", "pool.dq", {"pool.q", "other", "z"});
              }),
              HasSubstr("'pool.dq'"));
  EXPECT_THAT(with([](Graph& g) {
                g.conv_node("next", {"pool", "next.w.dq"}, 1, 1);
              }),
              HasSubstr("'next' (Conv): its weights are quantised and its input is not"));
  EXPECT_THAT(with([](Graph& g) {
                g.tensors["half"] = onnx::tensor("half", onnx::kHalf, {8, 8, 1, 1}, std::string(128, '\0'));
                g.conv_node("next", {"pool.dq", "half"}, 1, 1);
              }),
              HasSubstr("'next' (Conv): its input is quantised and its weights are not"));
  EXPECT_THAT(with([](Graph& g) {
                g.tensors["half"] = onnx::tensor("half", onnx::kHalf, {8, 8, 1, 1}, std::string(128, '\0'));
                g.conv_node("next", {"pool", "half"}, 1, 1);
              }),
              HasSubstr("some layers are quantised and some are not"));
  EXPECT_THAT(with([](Graph& g) { g.op("Relu", "average", {"pool.dq"}); }), HasSubstr("'average' (Relu)"));
  const auto subtract = [](Graph& g, const std::string& from, const std::string& reader) {
    g.number("half", 1.5F);
    g.order.insert(std::find(g.order.begin(), g.order.end(), reader), "less");
    g.nodes["less"] = onnx::node("Sub", "less", {from, "half"}, "less");
  };
  EXPECT_EQ(with([&](Graph& g) {  // from the classifier's input
              subtract(g, "flat", "flat.q");
              g.op("QuantizeLinear", "flat.q", {"less", "s", "z"});
            }),
            "taken");
  EXPECT_THAT(with([&](Graph& g) {
                subtract(g, "pool.dq", "next");
                g.conv_node("next", {"less", "next.w.dq"}, 1, 1);
              }),
              HasSubstr("subtracted from the classifier's input only"));
  EXPECT_THAT(with([&](Graph& g) {
                subtract(g, "flat", "flat.q");
                g.tensors["half"] = onnx::tensor("half", onnx::kFloat, {2}, onnx::raw(std::vector<float>{1, 2}));
                g.op("QuantizeLinear", "flat.q", {"less", "s", "z"});
              }),
              HasSubstr("must be one number"));
}

}  // namespace
}  // namespace ferry::latency
