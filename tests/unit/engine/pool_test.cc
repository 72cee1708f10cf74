// The pool: futures and callbacks from many threads, failures that stay alone, and a soak that can be made long
// (FERRY_SOAK_SECONDS=600).
#include "ferry/pool.h"

#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <random>
#include <thread>

#include "backend_fixture.h"
#include "ferry/compare.h"

namespace ferry {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kMost = 4;

Engine fake_engine() {
  const Backend backend = Backend::load("fake");
  BuildOptions options;
  options.profiles = {{1, 2, kMost}};
  return backend.open_plan(backend.build(tiny_onnx(), options, "", {}, {}).plan, {});
}

Tensor images(std::int64_t batch, std::uint64_t seed) { return Tensor::random_normal({batch, 3, 32, 32}, seed); }

class PoolTest : public BackendTest {
 protected:
  PoolTest() { environment.set("FERRY_FAKE_FAIL", ""); }  // whatever ran before in this process
};

TEST_F(PoolTest, AFutureGivesWhatASessionGives) {
  const Engine engine = fake_engine();
  Pool pool(engine);
  std::vector<std::future<Tensor>> answers;
  for (int i = 0; i < 20; ++i) answers.push_back(pool.submit(images(1 + i % kMost, i)));
  for (int i = 0; i < 20; ++i) {
    const Tensor expected = engine.new_session().run(images(1 + i % kMost, i).view());
    EXPECT_TRUE(compare_outputs(answers[i].get().view(), expected.view(), tolerance_for("fp32")).ok) << i;
  }
}

TEST_F(PoolTest, AFailingRequestFailsAlone) {
  Pool pool(fake_engine());
  auto bad = pool.submit(images(kMost + 1, 1)), good = pool.submit(images(1, 1));
  EXPECT_THAT(error_of([&] { bad.get(); }).cause(), HasSubstr("1 to 4"));
  EXPECT_EQ(good.get().shape(), (Shape{1, 10}));
}

TEST_F(PoolTest, CallbacksComeOnceEachBeforeWaitReturnsOrThePoolEnds) {
  std::atomic<int> answered{0}, failed{0};
  const Tensor shared = images(2, 3);
  {
    Pool pool(fake_engine(), {3, 2});
    const auto count = [&](Answer answer) { ++(answer.failure ? failed : answered); };
    for (int i = 0; i < 10; ++i) pool.submit_view(shared.view(), count);
    pool.wait();
    EXPECT_EQ(answered, 10);
    for (int i = 0; i < 10; ++i) pool.submit(images(1 + i % 6, i), count);
  }
  EXPECT_EQ(answered + failed, 20);
  EXPECT_EQ(failed, 2) << "batches 5 and 6";
}

TEST_F(PoolTest, ASessionThatDoesNotOpenIsAnError) {
  const Engine engine = fake_engine();
  EXPECT_THROW(Pool(engine, {0, 1}), Error);
  environment.set("FERRY_FAKE_FAIL", "open_session");
  EXPECT_THAT(error_of([&] { Pool pool(engine); }).cause(), HasSubstr("open_session"));
}

double resident_megabytes() {
  std::ifstream statm("/proc/self/statm");
  double total = 0, resident = 0;
  statm >> total >> resident;
  return resident * 4096 / 1e6;
}

// 16 threads with changing batch sizes over one engine: no wrong answer, no leak.
void soak(const Engine& engine, double seconds) {
  std::vector<Tensor> inputs, expected;
  Session session = engine.new_session();
  for (std::int64_t batch = 1; batch <= kMost; ++batch) {
    inputs.push_back(images(batch, static_cast<std::uint64_t>(batch)));
    expected.push_back(session.run(inputs.back().view()));
  }
  std::atomic<int> wrong{0}, done{0};
  Pool pool(engine, {4, 32});
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  const auto client = [&](std::uint32_t id) {
    std::mt19937 random(id);
    do {
      const std::size_t i = random() % kMost;
      const auto check = [&, i](const Answer& answer) {
        const bool ok =
            !answer.failure && compare_outputs(answer.output.view(), expected[i].view(), tolerance_for("fp32")).ok;
        wrong += ok ? 0 : 1;
        ++done;
      };
      if (random() % 2 == 0) {
        pool.submit_view(inputs[i].view(), check);
      } else {
        Answer answer;
        answer.output = pool.submit(inputs[i].clone()).get();
        check(answer);
      }
    } while (std::chrono::steady_clock::now() < end);
  };
  const auto run_clients = [&] {
    std::vector<std::thread> clients;
    for (std::uint32_t id = 0; id < 16; ++id) clients.emplace_back(client, id);
    for (std::thread& thread : clients) thread.join();
    pool.wait();
  };
  run_clients();
  const double before = resident_megabytes();
  run_clients();
  EXPECT_EQ(wrong, 0);
  EXPECT_GE(done, 32);
  EXPECT_LE(resident_megabytes() - before, 64) << "MB more after " << done << " requests";
}

double soak_seconds(double otherwise) {
  const char* asked = std::getenv("FERRY_SOAK_SECONDS");
  return asked == nullptr ? otherwise : std::atof(asked);
}

TEST_F(PoolTest, SoakOnTheFakeEngine) { soak(fake_engine(), soak_seconds(0.3)); }

// Sanitizers end a program that opens libraries as some engines do; there the fake engine is what is checked.
constexpr bool sanitized() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#elif defined(__has_feature)
  return __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
  return false;
#endif
}

TEST_F(PoolTest, SoakOnARealEngine) {
  if (sanitized()) GTEST_SKIP() << "not under a sanitizer";
  for (const BackendInfo& info : Backend::list()) {
    const bool reads_onnx = std::find(info.opens.begin(), info.opens.end(), "onnx") != info.opens.end();
    if (!info.usable || !reads_onnx) continue;
    return soak(Backend::load(info.name).open_onnx(tiny_onnx(), {}), soak_seconds(0.3));
  }
  GTEST_SKIP() << "no usable engine here opens ONNX";
}

}  // namespace
}  // namespace ferry
