// Sessions of the fake engine under load: right answers, failures that surface, sessions that come and go.
#include "ferry/load.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "backend_fixture.h"
#include "ferry/compare.h"

namespace ferry {
namespace {

using testing::HasSubstr;

class LoadTest : public BackendTest {
 protected:
  LoadTest() { environment.set("FERRY_FAKE_FAIL", ""); }  // whatever ran before in this process
  static Engine engine() {
    const Backend backend = Backend::load("fake");
    BuildOptions options;
    options.profiles = {{1, 2, 4}};
    return backend.open_plan(backend.build(tiny_onnx(), options, "", {}, {}).plan, {});
  }
  const Tensor input = Tensor::random_normal({2, 3, 32, 32}, 5);
};

TEST_F(LoadTest, EverySessionAnswersRight) {
  const Tensor expected = engine().new_session().run(input.view());
  for (const LoadKind kind : {LoadKind::kThroughput, LoadKind::kEndToEnd}) {
    Load load(engine(), input.view(), kind);
    load.set_sessions(3);
    const LoadTurn turn = load.turn(0.02, 4);
    ASSERT_EQ(turn.size(), 3u);
    for (const auto& spans : turn) {
      EXPECT_GE(spans.size(), 4u);
      for (std::size_t i = 1; i < spans.size(); ++i) EXPECT_GE(spans[i].begin_ms, spans[i - 1].end_ms);
    }
    for (const auto& outputs : load.outputs())
      EXPECT_TRUE(compare_outputs(outputs.at(0).view(), expected.view(), tolerance_for("fp32")).ok);
    EXPECT_TRUE(load.device_ms(3).empty()) << "a CPU has no resident runs";
  }
}

TEST_F(LoadTest, AnEngineThatWritesNothingShows) {
  Load load(engine(), input.view(), LoadKind::kThroughput);
  load.set_sessions(2);
  environment.set("FERRY_FAKE_MODE", "unwritten");
  load.turn(0, 2);
  for (const auto& outputs : load.outputs())
    EXPECT_FALSE(compare_outputs(outputs.at(0).view(), outputs.at(0).view(), Tolerance{}).ok);
}

TEST_F(LoadTest, AFailureEndsTheTurnAndSurfaces) {
  Load load(engine(), input.view(), LoadKind::kThroughput);
  load.set_sessions(3);
  environment.set("FERRY_FAKE_FAIL", "wait");
  EXPECT_THAT(error_of([&] { load.turn(30, 1000); }).cause(), HasSubstr("fake failure in wait"));
  environment.set("FERRY_FAKE_FAIL", "");
  EXPECT_EQ(load.turn(0, 2).size(), 3u) << "the sessions are still good";
}

TEST_F(LoadTest, SessionsThatDoNotOpenChangeNothing) {
  Load load(engine(), input.view(), LoadKind::kThroughput);
  load.set_sessions(2);
  environment.set("FERRY_FAKE_FAIL", "open_session");
  EXPECT_THROW(load.set_sessions(4), Error);
  EXPECT_EQ(load.sessions(), 2);
  load.set_sessions(1);
  EXPECT_EQ(load.sessions(), 1);
  EXPECT_THROW(load.set_sessions(0), Error);
}

TEST_F(LoadTest, TheNumberOfSessionsIsChosenByTrying) {
  Load load(engine(), input.view(), LoadKind::kThroughput);
  const SessionChoice choice = choose_sessions(load, {.seconds_each = 0.01, .most = 3});
  ASSERT_FALSE(choice.tried.empty());
  EXPECT_EQ(load.sessions(), choice.sessions);
  double best = 0, chosen = 0;
  for (const auto& tried : choice.tried) {
    best = std::max(best, tried.images_per_second);
    if (tried.sessions == choice.sessions) chosen = tried.images_per_second;
  }
  EXPECT_GE(chosen, 0.99 * best);
  EXPECT_THAT(choice.why, HasSubstr("images/s"));
}

TEST_F(LoadTest, TheSearchForSessionsEndsInTimeAndShowsWhatItSaw) {
  environment.set("FERRY_FAKE_MS", "2,0");  // every session brings as much as the first: it would go on to 8
  Load load(engine(), input.view(), LoadKind::kThroughput);
  std::vector<std::string> phases;
  const Progress progress = [&](const std::string& phase, std::int64_t done, std::int64_t total) {
    phases.push_back(fmt::format("{} {}/{}", phase, done, total));
    return true;
  };
  const SessionChoice choice = choose_sessions(load, {.seconds_each = 0.05, .most = 8, .most_seconds = 0.1}, progress);
  EXPECT_LT(choice.tried.size(), 4u);
  EXPECT_THAT(choice.why, HasSubstr("stopped after 0."));
  ASSERT_GE(phases.size(), 2u);
  EXPECT_EQ(phases[0], "trying 1 sessions 0/8");
  EXPECT_THAT(phases[1], testing::ContainsRegex("trying 2 sessions \\(so far 1: [0-9]+ images/s\\) 1/8"));
  const SessionChoice most = choose_sessions(load, {.seconds_each = 0.01, .most = 2});
  EXPECT_THAT(most.why, HasSubstr("2 is the most that is tried"));
}

TEST_F(LoadTest, CompetitorsTakeTurns) {
  Load a(engine(), input.view(), LoadKind::kThroughput), b(engine(), input.view(), LoadKind::kEndToEnd);
  a.set_sessions(2);
  b.set_sessions(1);
  std::vector<LoadCompetitor> both{{"A", "fp32", &a, LoadKind::kThroughput, {}},
                                   {"B", "fp32", &b, LoadKind::kEndToEnd, {}}};
  MeasureOptions options;
  options.rounds = 2;
  options.min_seconds = options.warmup_seconds = 0.01;
  const auto results = measure_load(both, options);
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].mode, "throughput");
  EXPECT_EQ(results[0].sessions, 2);
  EXPECT_EQ(results[1].mode, "end-to-end");
  EXPECT_EQ(results[1].engine, "B");
  EXPECT_GT(results[1].images_per_second, 0);
  const auto stop = [](const std::string&, std::int64_t, std::int64_t) { return false; };
  EXPECT_EQ(error_of([&] { measure_load(both, options, stop); }).stage(), Stage::kInterrupted);
}

}  // namespace
}  // namespace ferry
