// ONNX bytes -> layers: what is taken, and how what is not taken is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "cuda/layers.h"
#include "gpu/onnx_writer.h"
#include "models.h"
#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace onnx = ferry::testing::onnx;

const Layer& layer(const Layers& all, const std::string& name) {
  for (const Layer& l : all.layers)
    if (l.name == name) return l;
  throw std::runtime_error("no layer " + name);
}

TEST(ReadLayers, FusesAResNet50) {
  const std::string model = resnet_onnx("resnet50", 64);
  const ReadLayers read = read_layers(read_onnx(model));
  const Layers& all = read.layers;
  EXPECT_EQ(all.layers.size(), 53u + 3u) << "convolutions, two pools, classifier";
  EXPECT_EQ(all.input, "input");
  EXPECT_EQ(all.output, "output");
  EXPECT_EQ(all.batch, -1);
  EXPECT_EQ(all.tensors[0], (Shape{64, 64, 3}));
  const Layer &conv3 = layer(all, "layer1.0.conv3"), &down = layer(all, "layer1.0.downsample.0");
  EXPECT_TRUE(conv3.relu);
  EXPECT_EQ(conv3.residual, down.out);
  EXPECT_FALSE(down.relu);
  EXPECT_EQ(layer(all, "layer1.1.conv3").residual, conv3.out);
  EXPECT_EQ(layer(all, "layer2.0.conv2").stride, 2);
  EXPECT_EQ(all.layers.back().kind, LayerKind::kDense);
  EXPECT_EQ(read.weights.size(), all.layers.size());
  EXPECT_EQ(read.weights[0].weights.size(), 64u * 3 * 7 * 7 * 2);
}

TEST(ReadLayers, ConvolutionsThatDependOnTheSameInputShareAPhase) {
  for (const char* name : {"resnet18", "resnet50"}) {
    const std::string model = resnet_onnx(name, 64);
    const Layers all = read_layers(read_onnx(model)).layers;
    std::set<int> made{0};
    std::size_t seen = 0, pairs = 0;
    for (const std::vector<int>& phase : schedule(all)) {
      ASSERT_LE(phase.size(), 2u);
      pairs += phase.size() == 2;
      for (const int i : phase) {
        const Layer& l = all.layers[static_cast<std::size_t>(i)];
        EXPECT_TRUE(made.count(l.in)) << l.name;
        EXPECT_TRUE(l.residual < 0 || made.count(l.residual)) << l.name;
      }
      for (const int i : phase) made.insert(all.layers[static_cast<std::size_t>(i)].out);
      seen += phase.size();
    }
    EXPECT_EQ(seen, all.layers.size());
    EXPECT_EQ(pairs, name == std::string("resnet18") ? 3u : 4u) << "the downsamples";
  }
}

// -- refusals: a small good model, and one thing wrong with it
struct Small {
  std::vector<onnx::Message> nodes;
  std::vector<onnx::Message> weights;
  onnx::Type weight_type = onnx::kHalf, input_type = onnx::kFloat;
  std::vector<std::int64_t> input_shape{0, 3, 32, 32};

  void weight(const std::string& name, const std::vector<std::int64_t>& shape) {
    std::size_t bytes = weight_type == onnx::kFloat ? 4 : 2;
    for (const std::int64_t d : shape) bytes *= static_cast<std::size_t>(d);
    weights.push_back(onnx::tensor(name, weight_type, shape, std::string(bytes, '\0')));
  }
  void conv(const std::string& name, const std::string& in, std::int64_t from, std::int64_t to, std::int64_t kernel,
            std::int64_t stride, std::int64_t group = 1) {
    const std::int64_t pad = kernel / 2;
    weight(name + ".w", {to, from / group, kernel, kernel});
    nodes.push_back(
        onnx::node("Conv", name, {in, name + ".w"}, name,
                   {onnx::attribute("kernel_shape", {kernel, kernel}), onnx::attribute("group", group),
                    onnx::attribute("strides", {stride, stride}), onnx::attribute("pads", {pad, pad, pad, pad})}));
  }
  void op(const std::string& type, const std::string& name, const std::vector<std::string>& in,
          const std::vector<onnx::Message>& attributes = {}) {
    nodes.push_back(onnx::node(type, name, in, name, attributes));
  }
  void stem() { conv("stem", "input", 3, 8, 7, 2); }
  void head(const std::string& in, std::int64_t features) {
    op("GlobalAveragePool", "average", {in});
    op("Flatten", "flat", {"average"}, {onnx::attribute("axis", std::int64_t{1})});
    weight("fc.w", {5, features});
    op("Gemm", "output", {"flat", "fc.w"}, {onnx::attribute("transB", std::int64_t{1})});
  }
  std::string bytes() const {
    onnx::Message graph;
    for (const auto& node : nodes) graph.message(1, node);
    for (const auto& w : weights) graph.message(5, w);
    graph.message(11, onnx::port("input", input_type, input_shape));
    graph.message(12, onnx::port("output", onnx::kFloat, {0, 5}));
    return onnx::model(graph);
  }
};

std::string refusal(const std::string& bytes) {
  try {
    read_layers(read_onnx(bytes));
  } catch (const nvinfer::Failure& failure) {
    EXPECT_NE(failure.hint, "");
    return failure.cause;
  }
  return "taken";
}

TEST(ReadLayers, TakesTheSmallestNetwork) {
  Small model;
  model.stem();
  model.head("stem", 8);
  EXPECT_EQ(refusal(model.bytes()), "taken");
}

TEST(ReadLayers, RefusesWhatItDoesNotComputeByName) {
  const auto with = [](const std::function<void(Small&)>& change) {
    Small model;
    change(model);
    return refusal(model.bytes());
  };
  EXPECT_THAT(with([](Small& m) {
                m.stem();
                m.op("Softmax", "odd", {"stem"});
              }),
              AllOf(HasSubstr("'odd' (Softmax)"), HasSubstr("does not compute Softmax")));
  EXPECT_THAT(with([](Small& m) {
                m.stem();
                m.conv("five", "stem", 8, 8, 5, 1);
                m.head("five", 8);
              }),
              HasSubstr("'five'"));
  EXPECT_THAT(with([](Small& m) {
                m.stem();
                m.conv("grouped", "stem", 8, 8, 3, 1, 4);
              }),
              AllOf(HasSubstr("'grouped'"), HasSubstr("grouped convolution")));
  EXPECT_THAT(with([](Small& m) {
                m.stem();
                m.op("BatchNormalization", "bn", {"stem"});
              }),
              AllOf(HasSubstr("'bn'"), HasSubstr("folded")));
  EXPECT_THAT(with([](Small& m) { m.op("QuantizeLinear", "q", {"input"}); }), HasSubstr("'q' (QuantizeLinear)"));
  EXPECT_THAT(with([](Small& m) {
                m.weight_type = onnx::kFloat;
                m.stem();
              }),
              AllOf(HasSubstr("'stem'"), HasSubstr("float32 weights")));
  EXPECT_THAT(with([](Small& m) { m.op("Relu", "r", {"input"}); }), HasSubstr("'r' (Relu)"));
  EXPECT_THAT(with([](Small& m) { m.op("Relu", "r", {"nowhere"}); }), HasSubstr("'r' (Relu)"));
  EXPECT_THAT(with([](Small& m) { m.input_shape = {0, 3, 32, 33}; }), HasSubstr("even"));
  EXPECT_THAT(with([](Small& m) { m.input_shape = {0, 3, 0, 32}; }), HasSubstr("fixed size"));
  EXPECT_THAT(with([](Small& m) { m.input_type = onnx::kHalf; }), HasSubstr("float32"));
  EXPECT_THAT(with([](Small& m) {
                m.stem();
                m.op("Add", "twice", {"stem", "stem"});
              }),
              HasSubstr("'twice' (Add)"));
}

TEST(ReadLayers, ReluBehindAValueThatIsUsedElsewhereIsRefused) {
  Small model;
  model.stem();
  model.op("Relu", "relu", {"stem"});
  model.conv("next", "stem", 8, 8, 1, 1);
  EXPECT_THAT(refusal(model.bytes()), HasSubstr("'relu' (Relu)"));
}

TEST(ReadLayers, BytesOfAnyKindAreRefusedOrRead) {
  Small model;
  model.stem();
  model.head("stem", 8);
  const std::string good = model.bytes();
  for (std::size_t length = 0; length < good.size(); length += 7) EXPECT_NE(refusal(good.substr(0, length)), "");
  std::uint32_t seed = 1;
  for (int round = 0; round < 3000; ++round) {
    std::string bad = good;
    for (int change = 0; change < 3; ++change) {
      seed = seed * 1664525 + 1013904223;
      // The weights are most of the bytes and mean nothing: change the first and last parts.
      const std::size_t at = (seed >> 8) % 400;
      bad[at < 200 ? at : bad.size() - 1 - (at - 200)] = static_cast<char>(seed >> 3);
    }
    EXPECT_NE(refusal(bad), "");  // anything but a crash
  }
}

}  // namespace
}  // namespace ferry::latency
