// After K. He, X. Zhang, S. Ren, J. Sun: "Deep Residual Learning for Image Recognition", 2015, table 1 and figure 5,
// with torchvision's names and its stride on the 3x3 convolution of a bottleneck.
#include "resnet/graph.h"

namespace ferry {
namespace {

class ResNetGraph {
 public:
  ResNetGraph(const ResNetArchitecture& network, const WeightSource& weights, GraphWriter& graph)
      : network_(network), weights_(weights), graph_(graph) {}

  std::string forward(const std::string& input) {
    std::string x = conv_bn("conv1", "bn1", input, 2);
    x = graph_.relu("relu", x);
    x = graph_.max_pool("maxpool", x, {.kernel = 3, .stride = 2, .padding = 1});
    channels_ = network_.stem_channels;
    for (int stage = 1; stage <= 4; ++stage) x = layer(stage, x);
    x = graph_.flatten("flatten", graph_.global_average_pool("avgpool", x));
    const std::string matrix = weight("fc.weight"), bias = weight("fc.bias");
    return graph_.linear("fc", x, matrix, bias, "output");
  }

 private:
  std::string layer(int stage, std::string x) {
    const auto s = static_cast<std::size_t>(stage - 1);
    for (int i = 0; i < network_.depths[s]; ++i) {
      const std::string name = "layer" + std::to_string(stage) + "." + std::to_string(i);
      const int stride = i == 0 && stage > 1 ? 2 : 1;
      x = block(name, x, network_.planes[s] * network_.expansion(), stride);
    }
    return x;
  }

  /// y = relu(F(x) + shortcut(x))
  std::string block(const std::string& name, const std::string& x, int channels, int stride) {
    const bool basic = network_.block == ResNetArchitecture::Block::kBasic;
    const std::string residual = basic ? basic_branch(name, x, stride) : bottleneck_branch(name, x, stride);
    const std::string shortcut =
        stride == 1 && channels == channels_ ? x : conv_bn(name + ".downsample.0", name + ".downsample.1", x, stride);
    channels_ = channels;
    return graph_.relu(name + (basic ? ".relu2" : ".relu3"), graph_.add(name + ".add", residual, shortcut));
  }

  /// Two 3x3 convolutions.
  std::string basic_branch(const std::string& name, std::string x, int stride) {
    x = graph_.relu(name + ".relu1", conv_bn(name + ".conv1", name + ".bn1", x, stride));
    return conv_bn(name + ".conv2", name + ".bn2", x, 1);
  }

  /// 1x1 to fewer channels, 3x3 (grouped in a ResNeXt), 1x1 back.
  std::string bottleneck_branch(const std::string& name, std::string x, int stride) {
    x = graph_.relu(name + ".relu1", conv_bn(name + ".conv1", name + ".bn1", x, 1));
    x = graph_.relu(name + ".relu2", conv_bn(name + ".conv2", name + ".bn2", x, stride, network_.groups));
    return conv_bn(name + ".conv3", name + ".bn3", x, 1);
  }

  /// A convolution that keeps the size (divided by the stride), then batch norm.
  std::string conv_bn(const std::string& conv, const std::string& bn, const std::string& x, int stride,
                      int groups = 1) {
    const Tensor& kernel = weights_(conv + ".weight");
    const std::int64_t size = kernel.shape().at(2);
    const std::string y = graph_.conv(conv, x, graph_.weight(conv + ".weight", kernel.view()),
                                      {.kernel = size, .stride = stride, .padding = size / 2}, groups);
    for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"}) weight(bn + part);
    return graph_.batch_norm(bn, y, 1e-5f);
  }

  std::string weight(const std::string& name) { return graph_.weight(name, weights_(name).view()); }

  const ResNetArchitecture& network_;
  const WeightSource& weights_;
  GraphWriter& graph_;
  int channels_ = 0;  // of the value that the next block gets
};

}  // namespace

void write_resnet(const ResNetArchitecture& network, const WeightSource& weights, int height, int width,
                  GraphWriter& graph) {
  const std::string input = graph.input("input", {-1, network.input_channels, height, width});
  ResNetGraph(network, weights, graph).forward(input);
  graph.output("output", {-1, network.num_classes});
}

}  // namespace ferry
