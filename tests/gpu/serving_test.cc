// Serving on a real GPU: large copies shared by threads, many sessions in flight, a batch between two profiles, layers.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "gpu/gpu_fixture.h"

namespace ferry::testing {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kLarge = 512;  // 6 MB of input: shared by threads

const BuildOutput& built_large() {
  static const BuildOutput output = Gpu::module()->build(
      {Gpu::net().onnx("fp16"), R"({"profiles":[{"min":1,"opt":1,"max":1},{"min":2,"opt":512,"max":512}]})"});
  return output;
}

class Serving : public Gpu {};

TEST_F(Serving, LargeInputsArriveWholeWhateverTheNumberOfThreads) {
  const auto images = TinyNet::images(kLarge, 9);
  const auto expected = net().answer(images, kLarge);
  for (const char* options : {R"({"copy_threads":1})", R"({"copy_threads":2})", R"({"copy_threads":8})", "{}"}) {
    const OpenedEngine engine(*module(), built_large().plan, options);
    OpenedSession session(engine);
    for (int repeat = 0; repeat < 4; ++repeat) {
      const double error = relative_error(session.run(images, kLarge, kLarge * kClasses), expected);
      EXPECT_LE(error, tolerance("fp16")) << options << ", repeat " << repeat;
    }
  }
}

// What the device reads out of the host's memory must be this request's input, whatever caches hold.
TEST_F(Serving, QuickRequestsGiveTheSameBitsAsCopiedOnes) {
  const OpenedEngine quick(*module(), built_large().plan), copied(*module(), built_large().plan, R"({"quick":false})");
  OpenedSession fast(quick), slow(copied);
  for (std::uint32_t repeat = 0; repeat < 60; ++repeat) {
    for (const std::int64_t batch : {1, 5, 64, 85}) {  // 12 KB to 1 MB
      const auto count = static_cast<std::size_t>(batch);
      const auto images = TinyNet::images(count, 1000 * repeat + static_cast<std::uint32_t>(batch));
      const auto expected = slow.run(images, batch, count * kClasses);
      EXPECT_EQ(fast.run(images, batch, count * kClasses), expected) << "batch " << batch << ", repeat " << repeat;
      EXPECT_EQ(fast.run_staged(images, batch, count * kClasses), expected) << "staged, batch " << batch;
    }
  }
  for (const std::string& warning : quick.warnings) ADD_FAILURE() << warning;
}

TEST_F(Serving, QuickSessionsInThreadsDoNotMix) {
  const OpenedEngine engine(*module(), built_large().plan);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::uint32_t id = 0; id < 4; ++id) {
    threads.emplace_back([&, id] {
      OpenedSession session(engine);
      const std::vector<float> one = TinyNet::images(40, 77 * id), other = TinyNet::images(40, 77 * id + 1);
      const auto of_one = net().answer(one, 40), of_other = net().answer(other, 40);
      for (int i = 0; i < 200; ++i) {
        const bool first = i % 3 == 0;
        const auto out = session.run(first ? one : other, 40, 40 * kClasses);
        if (!(relative_error(out, first ? of_one : of_other) <= tolerance("fp16"))) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST_F(Serving, WaitingWithoutSpinningGivesTheSameAnswers) {
  const OpenedEngine engine(*module(), built_large().plan, R"({"block":true})");
  OpenedSession session(engine);
  const auto images = TinyNet::images(7, 4);
  const auto expected = net().answer(images, 7);
  for (int repeat = 0; repeat < 4; ++repeat)
    EXPECT_LE(relative_error(session.run(images, 7, 7 * kClasses), expected), tolerance("fp16"));
}

TEST_F(Serving, ABatchBetweenProfilesDoesNotPayForTheLargest) {
  const OpenedEngine engine(*module(), built_large().plan);
  OpenedSession session(engine);
  const auto time_of = [&](std::int64_t batch) {
    const auto count = static_cast<std::size_t>(batch);
    const auto images = TinyNet::images(count, 3);
    EXPECT_LE(relative_error(session.run(images, batch, count * kClasses), net().answer(images, count)),
              tolerance("fp16"));
    std::vector<double> times;
    for (int i = 0; i < 60; ++i) {
      ferry_times now{};
      session.run_resident(batch, count * kClasses, &now);
      times.push_back(now.compute_ms);
    }
    std::nth_element(times.begin(), times.begin() + 30, times.end());
    return times[30];
  };
  const double all = time_of(kLarge), some = time_of(37);
  EXPECT_LE(some, 0.6 * all) << some << " ms for 37 images, " << all << " ms for " << kLarge;
}

TEST_F(Serving, ManySessionsBackToBackGiveRightAnswersFromStaging) {
  constexpr int kSessions = 4, kRequests = 40;
  const OpenedEngine engine(*module(), built_large().plan, R"({"copy_threads":4})");
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::uint32_t id = 0; id < kSessions; ++id) {
    threads.emplace_back([&, id] {
      OpenedSession session(engine);
      const auto images = TinyNet::images(256, 50 + id);
      const auto expected = net().answer(images, 256);
      for (int i = 0; i < kRequests; ++i) {
        const auto out =
            i % 2 == 0 ? session.run_staged(images, 256, 256 * kClasses) : session.run(images, 256, 256 * kClasses);
        const bool ok = relative_error(out, expected) <= tolerance("fp16");
        if (!ok) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Serving, AProfileNamesLayersWithKernelsAndWork) {
  const OpenedEngine engine(*module(), built_large().plan);
  OpenedSession session(engine);
  const auto images = TinyNet::images(8, 2);
  const auto expected = net().answer(images, 8);
  for (int i = 0; i < 3; ++i) session.run(images, 8, 8 * kClasses);
  std::string text;
  const ferry_sink sink{[](void* user, const void* data, size_t size) {
                          static_cast<std::string*>(user)->append(static_cast<const char*>(data), size);
                          return 0;
                        },
                        &text};
  ASSERT_EQ(module()->api().profile(session.handle(), 8, 20, sink), FERRY_OK);
  const Json profile = Json::parse(text);
  ASSERT_GE(profile["layers"].size(), 3u) << profile;
  int with_kernel = 0, with_flops = 0;
  for (const Json& layer : profile["layers"]) {
    EXPECT_GE(layer["ms"].get<double>(), 0);
    with_kernel += layer["kernel"].is_null() ? 0 : 1;
    with_flops += layer["flops"].is_null() ? 0 : 1;
  }
  EXPECT_GE(with_kernel, 3) << profile;
  EXPECT_GE(with_flops, 3) << profile;
  EXPECT_GT(profile["peaks"]["bytes_per_second"].get<double>(), 1e11) << profile["peaks"];
  EXPECT_LE(relative_error(session.run(images, 8, 8 * kClasses), expected), tolerance("fp16")) << "after a profile";
  EXPECT_EQ(module()->api().profile(session.handle(), 9, 20, sink), FERRY_FAILED) << "nothing ran at 9 yet";
}

}  // namespace
}  // namespace ferry::testing
