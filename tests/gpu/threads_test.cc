// Several threads over one engine, each with a session of its own, batches changing all the time.
#include <atomic>
#include <random>
#include <thread>

#include "gpu/gpu_fixture.h"

namespace ferry::testing {
namespace {

TEST_F(Gpu, ManySessionsInThreadsNeverMixTheirAnswers) {
  constexpr int kThreads = 8, kRequests = 60;
  const OpenedEngine engine(*module(), built("fp16").plan);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::uint32_t id = 0; id < kThreads; ++id) {
    threads.emplace_back([&, id] {
      OpenedSession session(engine);
      std::mt19937 random(id);
      const auto images = TinyNet::images(kMax, 1000 + id);
      const auto expected = net().answer(images, kMax);
      for (int request = 0; request < kRequests; ++request) {
        const std::size_t batch = 1 + random() % kMax;
        const std::vector<float> some(images.begin(),
                                      images.begin() + static_cast<std::ptrdiff_t>(batch * TinyNet::kRow));
        const auto out = request % 2 == 0
                             ? session.run(some, static_cast<std::int64_t>(batch), batch * kClasses)
                             : session.run_staged(some, static_cast<std::int64_t>(batch), batch * kClasses);
        const std::vector<float> right(expected.begin(),
                                       expected.begin() + static_cast<std::ptrdiff_t>(batch * kClasses));
        const bool ok = relative_error(out, right) <= tolerance("fp16");
        if (!ok) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Gpu, OpeningAndClosingLeaksNoDeviceMemory) {
  const auto used = [](const OpenedEngine& engine) {
    ferry_telemetry now{};
    module()->check(module()->api().telemetry(engine.handle(), &now));
    return now.memory_used_bytes;
  };
  const OpenedEngine kept(*module(), built("fp16").plan);
  const auto images = TinyNet::images(kMax, 1);
  const auto cycle = [&] {
    const OpenedEngine engine(*module(), built("fp16").plan);
    OpenedSession session(engine);
    for (int i = 0; i < 3; ++i) session.run(images, kMax, kMax * kClasses);
  };
  for (int i = 0; i < 3; ++i) cycle();
  const double before = used(kept);
  for (int i = 0; i < 20; ++i) cycle();
  EXPECT_LE(used(kept) - before, 8e6) << "bytes more after 20 cycles";
}

}  // namespace
}  // namespace ferry::testing
