// Chains: which convolutions become one phase, that their tiles fit, and that a plan with them computes the same.
#include "cuda/chains.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda/program.h"
#include "gpu/resnet_onnx.h"
#include "nvinfer/failure.h"
#include "unit/latency/emulated_run.h"
#include "unit/latency/models.h"

namespace ferry::latency {
namespace {

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

TEST(Chains, APlanWithThemComputesTheSame) {
  for (const bool int8 : {false, true}) {
    const std::string model =
        ferry::testing::resnet_onnx({{1, 1, 5, 1}, {16, 16, 256, 16}, 16, 24, 64, 64, true, int8}, 5);
    const Layers layers = read_layers(read_onnx(model)).layers;
    EXPECT_LT(schedule(layers, 1, kClusters).size(), schedule(layers).size());
    EXPECT_EQ(emulated_run(model, 1, in_clusters(kH200, kClusters)), emulated_run(model, 1, kH200));
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
