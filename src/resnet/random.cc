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

constexpr double kBranchScale = 0.15;  // batch-norm scale at the end of a residual branch
constexpr int kPooled = 4;             // the stem's pooling: nine neighbours are worth about four independent values

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

// What values look like after ReLU, block after block: a few thousand of them, followed one by one.
class Rectified {
 public:
  /// max(0, largest of `of` normal values).
  explicit Rectified(int of = 1) : values_(4096, 0.0f) {
    for (; of > 0; --of)
      for (float& value : values_) value = std::max(value, normal(1.0));
  }
  /// max(0, value + normal of deviation `spread`): a shortcut meets a branch.
  void add(double spread) {
    for (float& value : values_) value = std::max(0.0f, value + normal(spread));
  }
  Activation seen() const {
    double sum = 0, squares = 0;
    for (float value : values_) {
      sum += value;
      squares += static_cast<double>(value) * value;
    }
    const double count = static_cast<double>(values_.size());
    return {sum / count, squares / count};
  }

 private:
  float normal(double spread) {
    float value;
    fill_normal(&value, 1, 0.0, spread, random_);
    return value;
  }
  std::vector<float> values_;
  SplitMix64 random_{1};
};

struct Task {
  Layer layer;
  Activation input;
};

// What each layer's input looks like when pictures have mean 0 and variance 1.
std::vector<Task> plan(const ResNetArchitecture& net) {
  std::vector<Task> tasks;
  Activation block_input, now;
  const Activation once = Rectified().seen();
  Rectified stream(kPooled);  // the residual stream
  for (Layer& layer : layers_of(net)) {
    const bool shortcut = layer.name.ends_with(".downsample.0");
    if (layer.name.ends_with(".conv1")) block_input = now;
    tasks.push_back({layer, shortcut ? block_input : now});
    if (shortcut) stream = Rectified();
    if (layer.ends_block || shortcut) stream.add(kBranchScale);
    now = layer.ends_block || shortcut || layer.name == "conv1" ? stream.seen() : once;
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
