// Chains: which convolutions become one phase, that their tiles fit, and that a plan with them computes the same.
#include "cuda/chains.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "cuda/program.h"
#include "cuda/weights.h"
#include "gpu/latency_emulator.h"
#include "gpu/resnet_onnx.h"
#include "models.h"
#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

using ferry::testing::ResNetSpec;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Machine kH200{132, 227 << 10};
constexpr int kClusters = 15;

/// The number of convolutions of each chain, in order.
std::vector<std::size_t> chains_of(const Layers& layers, int images, int clusters) {
  std::vector<std::size_t> found;
  for (const auto& phase : schedule(layers, images, clusters))
    if (is_chain(layers, phase)) found.push_back(phase.size());
  return found;
}

Layers layers_of(const char* name) { return read_layers(read_onnx(resnet_onnx(name, 224))).layers; }

TEST(Chains, AreTheStageOf256Channels) {
  EXPECT_THAT(chains_of(layers_of("resnet50"), 1, kClusters), ElementsAre(3, 3, 3, 3, 2));
  EXPECT_THAT(chains_of(layers_of("resnet18"), 1, kClusters), IsEmpty());
}

TEST(Chains, NeedEnoughClustersAndFewPixels) {
  const Layers layers = layers_of("resnet50");
  EXPECT_THAT(chains_of(layers, 1, 12), IsEmpty()) << "196 pixels are more than 12 times 16";
  EXPECT_THAT(chains_of(layers, 1, 13), ElementsAre(3, 3, 3, 3, 2));
  EXPECT_THAT(chains_of(layers, 2, kClusters), IsEmpty());
  EXPECT_THAT(chains_of(layers, 1, 0), IsEmpty());
}

TEST(Chains, EveryLayerIsInOnePhaseInOrder) {
  const Layers layers = layers_of("resnet50");
  std::vector<int> seen;
  for (const auto& phase : schedule(layers, 1, kClusters)) seen.insert(seen.end(), phase.begin(), phase.end());
  std::vector<int> before;
  for (const auto& phase : schedule(layers)) before.insert(before.end(), phase.begin(), phase.end());
  EXPECT_EQ(seen, before);
}

/// The outputs of one picture, computed as a plan with these chains says.
std::vector<float> run(const std::string& model, int clusters, std::size_t& phases) {
  const ReadLayers read = read_layers(read_onnx(model));
  const Machine machine = in_clusters(kH200, clusters);
  std::vector<PlannedBatch> batches{{1, choose_tiles(read.layers, 1, machine).tiles, {}, 0, clusters}};
  const std::string weights = pack_weights(read, kH200, batches, [](std::int64_t, std::int64_t) {});
  const PlannedBatch& batch = batches.front();
  const Program program = make_program(read.layers, batch.tiles, batch.places, weights.size(), 1, machine);
  phases = program.phases.size();
  std::vector<float> input(3 * 64 * 64), output(24);
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (float& value : input) value = normal(random);
  std::vector<char> arena(program.arena_bytes, '\x7f');  // NaN, or 127
  Net net{};
  net.convs = program.convs.data();
  net.weights = weights.data();
  net.arena = arena.data();
  net.input = input.data();
  net.output = output.data();
  for (const Phase& phase : program.phases) emulate(net, phase);
  return output;
}

TEST(Chains, APlanWithThemComputesTheSame) {
  for (const bool int8 : {false, true}) {
    const std::string model =
        ferry::testing::resnet_onnx({{1, 1, 5, 1}, {16, 16, 256, 16}, 16, 24, 64, 64, true, int8}, 5);
    std::size_t with = 0, without = 0;
    const std::vector<float> plain = run(model, 0, without);
    EXPECT_EQ(run(model, kClusters, with), plain);
    EXPECT_LT(with, without);
  }
}

/// The program of a network with these chains.
Program program_of(const Layers& layers, const std::vector<Tile>& tiles, int clusters) {
  const Machine machine = in_clusters(kH200, clusters);
  std::size_t bytes = 0;
  const std::vector<Place> places = lay_weights(layers, tiles, 1, machine, bytes);
  return make_program(layers, tiles, places, bytes, 1, machine);
}

TEST(Chains, AChainsTilesAreTheKernels) {
  const Layers layers = layers_of("resnet50");
  std::vector<Tile> tiles = choose_tiles(layers, 1, in_clusters(kH200, kClusters)).tiles;
  EXPECT_EQ(program_of(layers, tiles, kClusters).exchange_bytes, kExchangeBytes);
  for (const auto& phase : schedule(layers, 1, kClusters))
    if (is_chain(layers, phase)) tiles[static_cast<std::size_t>(phase[1])] = {1, 2, 1, 4, 1};
  try {
    program_of(layers, tiles, kClusters);
    ADD_FAILURE() << "other tiles were taken";
  } catch (const nvinfer::Failure& failure) {
    EXPECT_THAT(failure.what(), HasSubstr("other tiles than a chain's"));
  }
}

TEST(Chains, DeeperNetworksHaveRoomToo) {
  const Layers layers = read_layers(read_onnx(ferry::testing::resnet_onnx({{3, 8, 36, 3}}, 1))).layers;
  EXPECT_NO_THROW(choose_tiles(layers, 1, in_clusters(kH200, kClusters)));
}

}  // namespace
}  // namespace ferry::latency
