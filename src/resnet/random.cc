// Seeded weights. Convolutions and the classifier start as torchvision's do. Batch norm gets the statistics that such a
// network would have seen (from the weights and the mean and mean square of each layer's input, followed through the
// network) and a small scale at the end of each block: activations neither vanish nor overflow FP16 through 152 layers,
// and different inputs give different outputs.
#include "base/random.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "resnet/walk.h"

namespace ferry {
namespace {

constexpr double kBranchScale = 0.25;                    // batch-norm scale at the end of a residual branch
constexpr double kRectifiedMean = 0.3989422804;          // of max(0, x), x standard normal: 1 / sqrt(2 pi)
constexpr double kPooledMean = 1.5, kPooledPower = 2.6;  // of the largest of nine such values: the stem's pooling

// A generator of its own for each tensor: results depend neither on the order of work nor on the number of threads.
SplitMix64 generator(std::uint64_t seed, std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return SplitMix64(SplitMix64(seed ^ hash).next());
}

void fill_uniform(std::span<float> values, double reach, SplitMix64 random) {
  for (float& value : values) value = static_cast<float>(reach * (2 * random.uniform() - 1));
}

struct Activation {
  double mean = 0, power = 1;  // mean and mean square of each value
};

struct Task {
  Layer layer;
  Activation input;
};

// What each layer's input looks like when pictures have mean 0 and variance 1.
std::vector<Task> plan(const ResNetArchitecture& net) {
  std::vector<Task> tasks;
  Activation block_input, now;
  constexpr double branch = kBranchScale * kBranchScale;
  const Activation rectified{kRectifiedMean, 0.5};
  for (Layer& layer : layers_of(net)) {
    const bool shortcut = layer.name.ends_with(".downsample.0");
    if (layer.name.ends_with(".conv1")) block_input = now;
    tasks.push_back({layer, shortcut ? block_input : now});
    if (layer.name == "conv1") {
      now = {kPooledMean, kPooledPower};
    } else if (shortcut) {
      now = {kRectifiedMean * std::sqrt(1 + branch), 0.5 * (1 + branch)};
    } else if (layer.ends_block) {  // rectified shortcut + branch: half of the branch's spread survives where it is 0
      now = {block_input.mean + 0.5 * kRectifiedMean * kBranchScale, block_input.power + 0.75 * branch};
    } else {
      now = rectified;
    }
  }
  return tasks;
}

void fill_convolution(const Task& task, std::uint64_t seed, ResNet& network) {
  const Layer& layer = task.layer;
  const std::span<float> weight = network.weights.at(layer.name + ".weight").floats();
  const auto out = static_cast<std::size_t>(layer.weight[0]);
  const std::size_t each = weight.size() / out;
  SplitMix64 random = generator(seed, layer.name);
  const double kernel = static_cast<double>(layer.weight[2] * layer.weight[3]);
  fill_normal(weight.data(), weight.size(), 0.0, std::sqrt(2.0 / (kernel * static_cast<double>(out))), random);

  const std::span<float> scale = network.weights.at(layer.batch_norm + ".weight").floats();
  const std::span<float> bias = network.weights.at(layer.batch_norm + ".bias").floats();
  const std::span<float> mean = network.weights.at(layer.batch_norm + ".running_mean").floats();
  const std::span<float> var = network.weights.at(layer.batch_norm + ".running_var").floats();
  const double spread = task.input.power - task.input.mean * task.input.mean;
  for (std::size_t channel = 0; channel < out; ++channel) {
    double sum = 0, squares = 0;
    for (std::size_t i = channel * each; i < (channel + 1) * each; ++i) {
      sum += weight[i];
      squares += static_cast<double>(weight[i]) * weight[i];
    }
    mean[channel] = static_cast<float>(task.input.mean * sum);
    var[channel] = static_cast<float>(spread * squares);
    scale[channel] = layer.ends_block ? static_cast<float>(kBranchScale) : 1.0f;
    bias[channel] = 0.0f;
  }
}

// torch.nn.Linear's own initialisation: uniform within 1 / sqrt(fan_in).
void fill_classifier(const Layer& layer, std::uint64_t seed, ResNet& network) {
  const double reach = 1 / std::sqrt(static_cast<double>(layer.weight[1]));
  for (const char* part : {".weight", ".bias"})
    fill_uniform(network.weights.at(layer.name + part).floats(), reach, generator(seed, layer.name + part));
}

}  // namespace

ResNet random_resnet(const ResNetArchitecture& architecture, std::uint64_t seed) {
  ResNet network;
  network.architecture = architecture;
  network.random = true;
  network.origin = "random weights, seed " + std::to_string(seed);
  for (const ExpectedTensor& tensor : expected_tensors(architecture))
    network.weights.emplace(tensor.name, Tensor(DType::kFloat32, tensor.shape));

  const std::vector<Task> tasks = plan(architecture);
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < tasks.size(); i = next++) {
      if (tasks[i].layer.kind == Layer::kConv) {
        fill_convolution(tasks[i], seed, network);
      } else {
        fill_classifier(tasks[i].layer, seed, network);
      }
    }
  };
  std::vector<std::jthread> helpers(std::min(7u, std::max(1u, std::thread::hardware_concurrency()) - 1));
  for (std::jthread& helper : helpers) helper = std::jthread(work);
  work();
  return network;
}

}  // namespace ferry
