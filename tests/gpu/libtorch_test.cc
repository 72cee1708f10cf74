// LibTorch on a real GPU: what a replayed CUDA graph answers is what the calls answer, for every batch and input.
#include <gmock/gmock.h>

#include <algorithm>

#include "ferry/backend.h"
#include "ferry/compare.h"
#include "ferry/error.h"

namespace ferry {
namespace {

const ResNet& network() {
  static const ResNet made = [] {
    ResNetArchitecture a;
    a.depths = {1, 1, 1, 1};
    a.planes = a.widths = {8, 8, 16, 16};
    a.stem_channels = 8;
    a.num_classes = 24;
    return random_resnet(a, 1);
  }();
  return made;
}

class LibTorchGpu : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::vector<BackendInfo> known = Backend::list();
    const auto info = std::find_if(known.begin(), known.end(), [](const auto& b) { return b.name == "libtorch"; });
    if (info == known.end() || !info->usable) GTEST_SKIP() << "LibTorch is not usable here";
    const bool gpu =
        std::any_of(info->devices.begin(), info->devices.end(), [](const auto& d) { return d.kind == "gpu"; });
    if (!gpu) GTEST_SKIP() << "LibTorch finds no GPU here";
  }
  static Engine open(bool capture) {
    OpenOptions options;
    options.precision = GetParam();
    options.capture = capture;
    options.height = options.width = 64;
    return Backend::load("libtorch").open_weights(network(), options);
  }
  static Tensor input(std::int64_t batch, std::uint64_t seed) {
    return Tensor::random_normal({batch, 3, 64, 64}, seed);
  }
  static void expect_same(const Tensor& a, const Tensor& b, const std::string& what) {
    const Agreement agreement = compare_outputs(a.view(), b.view(), tolerance_for(GetParam()));
    EXPECT_TRUE(agreement.ok) << what << ": " << agreement.failure;
  }
};

TEST_P(LibTorchGpu, ACapturedGraphAnswersLikeTheCalls) {
  const Engine calls = open(false), graph = open(true);
  ASSERT_EQ(graph.info().device.kind, "gpu");
  Session by_calls = calls.new_session(), replayed = graph.new_session();
  for (const std::int64_t batch : {1, 4, 1, 3, 4})  // back and forth: each batch has a graph of its own
    for (std::uint64_t seed = 1; seed <= 3; ++seed)
      expect_same(replayed.run(input(batch, seed).view()), by_calls.run(input(batch, seed).view()),
                  "batch " + std::to_string(batch) + ", input " + std::to_string(seed));
}

TEST_P(LibTorchGpu, AResidentReplayCanBeFetched) {
  const Engine graph = open(true);
  Session session = graph.new_session();
  const Tensor in = input(2, 7);
  const Tensor expected = session.run(in.view());
  Tensor fetched = Tensor::zeros(expected.dtype(), expected.shape());
  session.submit(2, {}, {fetched.data()}, true, true);
  session.wait();
  expect_same(fetched, expected, "resident");
}

TEST_P(LibTorchGpu, TwoSessionsCaptureForThemselves) {
  const Engine graph = open(true);
  Session first = graph.new_session(), second = graph.new_session();
  const Tensor a = first.run(input(2, 1).view());
  const Tensor b = second.run(input(2, 2).view());
  expect_same(first.run(input(2, 1).view()), a, "the first session again");
  expect_same(second.run(input(2, 2).view()), b, "the second session again");
  EXPECT_FALSE(compare_outputs(a.view(), b.view(), tolerance_for("fp32")).ok) << "different inputs, one answer";
}

INSTANTIATE_TEST_SUITE_P(, LibTorchGpu, testing::Values("fp32", "fp16"),
                         [](const auto& precision) { return std::string(precision.param); });

}  // namespace
}  // namespace ferry
