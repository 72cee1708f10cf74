// Tiles, packing, addresses and the plan file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>
#include <set>

#include "cuda/boxes.h"
#include "cuda/half.h"
#include "cuda/pack.h"
#include "cuda/plan_file.h"
#include "cuda/program.h"
#include "cuda/weights.h"
#include "models.h"
#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

using ::testing::HasSubstr;

const Layers& resnet(const std::string& name, int size = 224) {
  static std::map<std::string, Layers> all;
  const std::string key = name + std::to_string(size);
  if (all.count(key) == 0) all[key] = read_layers(read_onnx(resnet_onnx(name, size))).layers;
  return all[key];
}

constexpr Machine kH100{132, 227 << 10}, kRtx4060{24, 99 << 10};

TEST(Tiles, EveryResNetFitsEveryCard) {
  for (const char* name : {"resnet18", "resnet50", "narrow"})
    for (const Machine& machine : {kH100, kRtx4060}) {
      const Layers& layers = resnet(name);
      const Choice one = choose_tiles(layers, 1, machine);
      EXPECT_GT(one.ns, 0);
      const Choice eight = choose_tiles(layers, kMaxImages, machine);
      EXPECT_GT(eight.ns, one.ns) << name;
    }
}

TEST(Tiles, WaysToCutAPhaseBeginWithTheCheapest) {
  const Layers& layers = resnet("resnet50");
  const auto phases = schedule(layers);
  const auto ways = phase_tiles(layers, 1, kH100, 5, 2);
  const Choice choice = choose_tiles(layers, 1, kH100);
  ASSERT_EQ(ways.size(), phases.size());
  for (std::size_t p = 0; p < phases.size(); ++p) {
    ASSERT_GE(ways[p].size(), 1u);
    EXPECT_LE(ways[p].size(), 5u);
    for (std::size_t k = 0; k < phases[p].size(); ++k)
      EXPECT_EQ(ways[p][0].tiles[k], choice.tiles[static_cast<std::size_t>(phases[p][k])]);
    for (std::size_t w = 1; w < ways[p].size(); ++w) {
      EXPECT_GE(ways[p][w].cycles, ways[p][w - 1].cycles);
      EXPECT_LE(ways[p][w].cycles, 2 * ways[p][0].cycles);
    }
  }
}

TEST(Tiles, ImpossibleOnesAreRefused) {
  const Layers& layers = resnet("resnet18", 64);
  const Layer& conv = layers.layers[2];
  const Tile good = choose_tiles(layers, 1, kH100).tiles[2];
  ASSERT_TRUE(describe_conv(layers, conv, good, 1, kH100.shared_bytes));
  for (const Tile& bad : {Tile{3, 1, 1, 1, 1}, Tile{1, 1, 0, 1, 1}, Tile{1, 1, -1, 1, 1}, Tile{1, 1, 8, 2, 1},
                          Tile{1, 4, 1, 8, 1}, Tile{1, 1, 1, 1, 4}, Tile{1, 1, 1, 1, 0}, Tile{1 << 28, 1, 1, 1, 1}})
    EXPECT_FALSE(describe_conv(layers, conv, bad, 1, kH100.shared_bytes))
        << bad.mf << bad.nf << bad.wm << bad.wn << bad.passes;
  EXPECT_FALSE(describe_conv(layers, conv, good, 1, 8 << 10)) << "shared memory";
}

TEST(Tiles, ANetworkThatFitsNowhereIsNamed) {
  try {
    choose_tiles(resnet("resnet18"), 1, Machine{24, 48 << 10});
    ADD_FAILURE();
  } catch (const nvinfer::Failure& failure) {
    EXPECT_THAT(failure.cause, HasSubstr("fits into no tile"));
    EXPECT_EQ(failure.status, FERRY_UNSUPPORTED);
  }
}

// A row of one pixel once was taken for a convolution without stride: an illegal instruction.
TEST(Boxes, HaveTheDimensionsThatTheKernelAsksForWhateverTheSize) {
  int single = 0;
  for (const char* name : {"narrow", "resnet18"})
    for (const int images : {1, 7}) {
      const Layers& layers = resnet(name, 32);  // layer 4 halves 2x2 to one pixel
      const Choice choice = choose_tiles(layers, images, kH100);
      for (std::size_t i = 0; i < layers.layers.size(); ++i) {
        if (layers.layers[i].kind != LayerKind::kConv || layers.layers[i].in == 0) continue;
        const auto conv = describe_conv(layers, layers.layers[i], choice.tiles[i], images, kH100.shared_bytes);
        ASSERT_TRUE(conv);
        const cuda::TensorMap map = boxes_of(*conv);
        EXPECT_EQ(map.box.size(), strided(*conv) ? 4u : 3u);
        EXPECT_EQ(map.strides.size() + 1, map.box.size());
        EXPECT_EQ(map.sizes.size(), map.box.size());
        EXPECT_EQ(boxes_refused(*conv), nullptr) << layers.layers[i].name;
        single += strided(*conv) && conv->OW == 1;
      }
    }
  EXPECT_EQ(single, 4);
}

TEST(Boxes, WhatTheCopyEngineCannotBringIsRefused) {
  const Layers& layers = resnet("resnet18", 64);
  const Tile tile = choose_tiles(layers, 1, kH100).tiles[2];
  const ConvDesc good = *describe_conv(layers, layers.layers[2], tile, 1, kH100.shared_bytes);
  ASSERT_EQ(boxes_refused(good), nullptr);
  const auto refused = [&](const std::function<void(ConvDesc&)>& change) {
    ConvDesc bad = good;
    change(bad);
    const char* why = boxes_refused(bad);
    return std::string(why != nullptr ? why : "taken");
  };
  EXPECT_THAT(refused([](ConvDesc& c) { c.rows = 264; }), HasSubstr("256 rows"));
  EXPECT_THAT(refused([](ConvDesc& c) { c.rows = 0; }), HasSubstr("256 rows"));
  EXPECT_THAT(refused([](ConvDesc& c) { c.box_bytes -= 1024; }), HasSubstr("look for them"));
  EXPECT_THAT(refused([](ConvDesc& c) { c.a_off += 16; }), HasSubstr("look for them"));
  EXPECT_THAT(refused([](ConvDesc& c) { c.C = 68; }), HasSubstr("multiples of 16"));
  EXPECT_THAT(refused([](ConvDesc& c) { c.H = 0; }), HasSubstr("empty"));
}

TEST(Pack, UnpackingGivesTheWeightsBackAndPaddingIsZero) {
  const Layers& layers = resnet("resnet50", 64);
  std::mt19937 random(3);
  int checked = 0;
  for (const std::size_t i : {0u, 2u, 4u, 12u}) {
    const Layer& layer = layers.layers[i];
    const int in = layers.in(layer).channels, out = layers.out(layer).channels, k = layer.kernel;
    std::string weights(static_cast<std::size_t>(in * out * k * k) * 2, '\0');
    for (char& byte : weights) byte = static_cast<char>(random() | 1);  // no byte is zero
    for (const Tile& tile :
         {Tile{2, 4, 4, 2, 1}, Tile{1, 1, 2, 2, 1}, Tile{1, 2, 4, 2, 1}, Tile{1, 4, 2, 1, 1}, Tile{1, 1, 8, 1, 4}}) {
      const auto conv = describe_conv(layers, layer, tile, 1, kH100.shared_bytes);
      if (!conv) continue;
      ++checked;
      const std::string packed = pack_conv(*conv, out, in, k, weights);
      ASSERT_EQ(packed.size(), packed_bytes(*conv));
      ASSERT_EQ(unpack_conv(*conv, out, in, k, packed), weights) << layer.name;
      const auto used =
          static_cast<std::size_t>(std::count_if(packed.begin(), packed.end(), [](char c) { return c != 0; }));
      ASSERT_EQ(used, weights.size()) << layer.name;
    }
  }
  EXPECT_GE(checked, 8);
}

// Batches once shared the packing of the smallest, and batch 2 to 8 took up to 1.9 times as long as they do with their
// own.
TEST(Weights, EachBatchReadsTheOrderOfItsOwnTiles) {
  const std::string model = resnet_onnx("narrow", 64);
  const ReadLayers read = read_layers(read_onnx(model));
  const Layers& layers = read.layers;
  std::vector<PlannedBatch> batches;
  for (const int images : {1, 2, 8}) batches.push_back({images, choose_tiles(layers, images, kH100).tiles, {}, 0, 0});
  std::int64_t steps = 0;
  const std::string bytes = pack_weights(read, kH100, batches, [&](std::int64_t done, std::int64_t all) {
    EXPECT_EQ(done, ++steps);
    EXPECT_LE(done, all);
  });
  std::set<std::uint64_t> seen;
  std::size_t own = 0;
  for (const PlannedBatch& batch : batches) {
    make_program(layers, batch.tiles, batch.places, bytes.size(), batch.images, kH100);
    for (std::size_t i = 0; i < layers.layers.size(); ++i) {
      const Layer& layer = layers.layers[i];
      if (layer.kind != LayerKind::kConv) continue;
      const auto conv = describe_conv(layers, layer, batch.tiles[i], batch.images, kH100.shared_bytes);
      const std::string_view packed = std::string_view(bytes).substr(batch.places[i].weights, packed_bytes(*conv));
      EXPECT_EQ(unpack_conv(*conv, layers.out(layer).channels, layers.in(layer).channels, layer.kernel, packed),
                read.weights[i].weights)
          << layer.name << " at batch " << batch.images;
      own += seen.insert(batch.places[i].weights).second && batch.images > 1;
    }
  }
  EXPECT_GT(own, 0u) << "no batch has a packing of its own: this test shows nothing";
  EXPECT_LT(seen.size(), 3 * layers.layers.size()) << "nothing is shared";
}

TEST(Pack, HalvesAreRead) {
  for (int bits = 0; bits < 0x7c00; ++bits) ASSERT_EQ(to_half(from_half(static_cast<std::uint16_t>(bits))), bits);
  EXPECT_EQ(from_half(0x3c00), 1.0F);
  EXPECT_EQ(from_half(0xc000), -2.0F);
  EXPECT_TRUE(std::isinf(from_half(0x7c00)));
  EXPECT_TRUE(std::isnan(from_half(0x7e00)));
}

TEST(Program, NothingThatIsNeededAtTheSameTimeOverlaps) {
  for (const char* name : {"resnet18", "resnet50"}) {
    const Layers& layers = resnet(name, 64);
    const auto phases = schedule(layers);
    for (const int images : {1, 5}) {
      std::uint64_t total = 0;
      const auto offsets = place_tensors(layers, phases, images, total);
      std::vector<int> last(layers.tensors.size(), -1), first(layers.tensors.size(), -1);
      for (int p = 0; p < static_cast<int>(phases.size()); ++p)
        for (const int i : phases[static_cast<std::size_t>(p)]) {
          const Layer& l = layers.layers[static_cast<std::size_t>(i)];
          first[static_cast<std::size_t>(l.out)] = p;
          for (const int read : {l.in, l.residual, l.out})
            if (read > 0) last[static_cast<std::size_t>(read)] = p;
        }
      for (std::size_t a = 1; a < offsets.size(); ++a)
        for (std::size_t b = 1; b < a; ++b) {
          const int output = layers.layers.back().out;
          if (static_cast<int>(a) == output || static_cast<int>(b) == output) continue;
          const bool together = first[a] <= last[b] && first[b] <= last[a];
          const std::uint64_t end_a = offsets[a] + images * tensor_bytes(layers, static_cast<int>(a)),
                              end_b = offsets[b] + images * tensor_bytes(layers, static_cast<int>(b));
          EXPECT_FALSE(together && offsets[a] < end_b && offsets[b] < end_a) << a << " and " << b;
          EXPECT_LE(end_a, total);
        }
    }
  }
}

TEST(Program, StacksFitIntoSharedMemoryAndItemsAreCounted) {
  for (const Machine& machine : {kH100, kRtx4060}) {
    const Layers& layers = resnet("resnet18", 64);
    const Choice choice = choose_tiles(layers, 2, machine);
    std::size_t bytes = 0;
    const auto places = lay_weights(layers, choice.tiles, 1, machine, bytes);
    const Program program = make_program(layers, choice.tiles, places, bytes, 2, machine);
    const int table = table_bytes(static_cast<int>(program.phases.size()), static_cast<int>(program.convs.size()));
    int item = 0;
    for (const ConvDesc& conv : program.convs) {
      EXPECT_LE(table + conv.stack, machine.shared_bytes);
      EXPECT_EQ(conv.M, 2 * conv.OH * conv.OW) << "both images";
    }
    for (const Phase& phase : program.phases) {
      EXPECT_EQ(phase.item0, item);
      if (phase.kind == kPhaseConv) item += waves(phase.tiles, machine.multiprocessors) * phase.per_tile;
    }
    EXPECT_EQ(program.convs.size(), 20u);
  }
}

// -- the file
struct Built {
  Plan plan;
  std::string weights, file;
};

Built built() {
  Built b;
  b.plan.layers = resnet("narrow", 64);
  b.plan.gpu = "Test GPU";
  b.plan.compute_capability = "9.0";
  b.plan.multiprocessors = 132;
  b.plan.shared_bytes = kH100.shared_bytes;
  b.plan.profiles = {{1, 1, 2}};
  const Choice one = choose_tiles(b.plan.layers, 1, kH100), two = choose_tiles(b.plan.layers, 2, kH100);
  std::size_t bytes = 0;
  const std::vector<Place> places = lay_weights(b.plan.layers, one.tiles, 1, kH100, bytes);
  b.plan.batches = {{1, one.tiles, places, 0.5}, {2, two.tiles, places, 0.75}};
  b.weights.assign(bytes, 'w');
  b.plan.weights = b.weights;
  b.file = plan_head(b.plan) + b.weights;
  return b;
}

TEST(PlanFile, ComesBackAsItWasWritten) {
  const Built b = built();
  const Plan read = read_plan(b.file);
  EXPECT_EQ(read.gpu, "Test GPU");
  EXPECT_EQ(read.layers.tensors, b.plan.layers.tensors);
  EXPECT_EQ(read.batches, b.plan.batches);
  EXPECT_EQ(read.profiles, b.plan.profiles);
  EXPECT_EQ(read.weights, b.weights);
  ASSERT_EQ(read.layers.layers.size(), b.plan.layers.layers.size());
  for (std::size_t i = 0; i < read.layers.layers.size(); ++i) {
    const Layer &x = read.layers.layers[i], &y = b.plan.layers.layers[i];
    EXPECT_EQ(std::tie(x.name, x.kind, x.in, x.out, x.residual, x.kernel, x.stride, x.relu),
              std::tie(y.name, y.kind, y.in, y.out, y.residual, y.kernel, y.stride, y.relu));
  }
  EXPECT_EQ(plan_head(read) + std::string(read.weights), b.file);
}

std::string file_refusal(const std::string& file) {
  try {
    const Plan plan = read_plan(file);
    for (const PlannedBatch& batch : plan.batches)
      make_program(plan.layers, batch.tiles, batch.places, plan.weights.size(), batch.images, kH100);
  } catch (const nvinfer::Failure& failure) {
    EXPECT_NE(failure.hint, "");
    return failure.cause;
  }
  return "taken";
}

TEST(PlanFile, DamageIsFoundAndNamed) {
  const Built b = built();
  EXPECT_THAT(file_refusal(""), HasSubstr("no plan of ferry's latency engine"));
  EXPECT_THAT(file_refusal(std::string(1000, 'a')), HasSubstr("no plan of ferry's latency engine"));
  EXPECT_THAT(file_refusal(b.file.substr(0, b.file.size() - 1)), HasSubstr("should have"));
  std::string changed = b.file;
  changed.back() ^= 1;
  EXPECT_THAT(file_refusal(changed), HasSubstr("checksum"));
  changed = b.file;
  changed[8] = 1;  // batches shared one packing
  EXPECT_THAT(file_refusal(changed), HasSubstr("format 1"));
  EXPECT_EQ(file_refusal(b.file), "taken");
}

/// The file with a JSON of one's own, as someone with bad intentions would make it: sizes and checksum match.
std::string with(const std::function<void(Plan&)>& change) {
  Built b = built();
  change(b.plan);
  return plan_head(b.plan) + std::string(b.plan.weights);
}

TEST(PlanFile, HostileContentIsRefusedBeforeTheGpuSeesIt) {
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.layers.layers[3].in = 1000; })), HasSubstr("does not exist"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.layers.layers[3].in = p.layers.layers.back().out; })),
              HasSubstr("not made before it"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.layers.layers[3].residual = p.layers.layers.back().out; })),
              HasSubstr("not made before it"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.layers.layers[3].out = p.layers.layers[2].out; })),
              HasSubstr("made twice"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.layers.layers[2].kernel = 5; })), HasSubstr("1x1 or 3x3"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.layers.layers[2].stride = 0; })), HasSubstr("stride"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.layers.tensors[3].height = 4000; })), HasSubstr("sizes do not follow"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.layers.tensors[3].channels = -1; })), HasSubstr("impossible size"));
  EXPECT_THAT(file_refusal(with([](Plan& p) {
                p.layers.tensors[0] = {4096, 4096, 3};
              })),
              HasSubstr("sizes do not follow"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.layers.layers.pop_back(); })), HasSubstr("damaged"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.batches[0].tiles[2].wm = 1 << 20; })), HasSubstr("tiles"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.batches[0].tiles.pop_back(); })),
              HasSubstr("another number of layers"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.batches[1].places.pop_back(); })),
              HasSubstr("another number of layers"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.batches[1].images = 1; })), HasSubstr("not in order"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.batches[1].images = 100; })), HasSubstr("not in order"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.profiles = {{1, 1, 3}}; })), HasSubstr("not planned"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.batches[1].places[2].weights = ~std::uint64_t{0} - 255; })),
              HasSubstr("outside"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.batches[0].places[0].bias = 7; })), HasSubstr("outside"));
  EXPECT_THAT(file_refusal(with([](Plan& p) { p.weights.remove_suffix(300); })), HasSubstr("outside"));
}

TEST(PlanFile, AnyChangeOfTheDescriptionIsRefusedOrHarmless) {
  const std::string good = built().file;
  std::uint32_t json_bytes = 0;
  std::memcpy(&json_bytes, good.data() + 12, 4);
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    std::string bad = good;
    for (int change = 0; change < 2; ++change) bad[32 + random() % json_bytes] = "0123456789-,[]{}\"ae."[random() % 20];
    // As if the checksum had been made to match.
    std::string fixed = bad;
    const std::uint64_t sum = checksum_of(std::string_view(bad).substr(32));
    std::memcpy(fixed.data() + 24, &sum, 8);
    EXPECT_NE(file_refusal(fixed), "");
  }
}

}  // namespace
}  // namespace ferry::latency
