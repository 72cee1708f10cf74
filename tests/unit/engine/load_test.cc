// Sessions of the fake engine under load: right answers, failures that surface, sessions that come and go.
#include "ferry/load.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>

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
    EXPECT_FALSE(load.has_resident()) << "a CPU has no device of its own";
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
  EXPECT_FALSE(results[0].against_device);
  const auto stop = [](const std::string&, std::int64_t, std::int64_t) { return false; };
  EXPECT_EQ(error_of([&] { measure_load(both, options, stop); }).stage(), Stage::kInterrupted);
}

TEST_F(LoadTest, AResidentTurnLeavesTheOutputsOfTheLastTurn) {
  const Tensor expected = engine().new_session().run(input.view());
  environment.set("FERRY_FAKE_MODE", "resident");
  Load load(engine(), input.view(), LoadKind::kThroughput);
  ASSERT_TRUE(load.has_resident());
  load.set_sessions(2);
  load.turn(0, 2);
  environment.set("FERRY_FAKE_MODE", "resident,other_network");  // what it computes now must not be seen
  for (const auto& spans : load.resident_turn(0, 4)) {
    ASSERT_GE(spans.size(), 4u);
    EXPECT_TRUE(std::isnan(spans[0].compute_ms)) << "two sessions compute at once";
  }
  for (const auto& outputs : load.outputs())
    EXPECT_TRUE(compare_outputs(outputs.at(0).view(), expected.view(), tolerance_for("fp32")).ok);
  load.set_sessions(1);
  EXPECT_GT(load.resident_turn(0, 2)[0][0].compute_ms, 0);
}

TEST_F(LoadTest, TheCallerLooksWhileSessionsWork) {
  Load load(engine(), input.view(), LoadKind::kThroughput);
  load.set_sessions(2);
  int looks = 0;
  load.turn(0, 2, [&] { ++looks; });
  EXPECT_EQ(looks, 1) << "once, however short the turn";
  looks = 0;
  load.turn(0.4, 2, [&] { ++looks; });
  EXPECT_GE(looks, 2);
  EXPECT_LE(looks, 8);
  const auto fail = [] { throw Error(Stage::kMeasure, "", "no telemetry"); };
  EXPECT_EQ(error_of([&] { load.turn(2, 1000, fail); }).cause(), "no telemetry");
  EXPECT_EQ(load.turn(0, 2).size(), 2u) << "the sessions are still good";
}

// Requests of 10 ms, 20 with their copies: half of the device's rate. The times of single requests, which `share` was
// made from once, would say that two sessions do all that the device can.
TEST_F(LoadTest, TheDeviceAloneIsMeasuredInTurnsWithTheLoad) {
  environment.set("FERRY_FAKE_MODE", "resident");
  environment.set("FERRY_FAKE_MS", "10,0,10");
  Load load(engine(), input.view(), LoadKind::kThroughput);
  load.set_sessions(2);
  int samples = 0, of_warming_up = 0;
  const auto telemetry = [&samples] {
    std::optional<Telemetry> now(Telemetry{});
    now->sm_clock_mhz = samples++;
    return now;
  };
  std::vector<LoadCompetitor> one{{"A", "fp32", &load, LoadKind::kThroughput, telemetry}};
  MeasureOptions options;
  options.rounds = 2;
  options.min_seconds = options.warmup_seconds = 0.02;
  options.least_block_seconds = 0.3;
  const Measurement m = measure_load(one, options, [&](const std::string&, std::int64_t round, std::int64_t) {
    if (round == 1) of_warming_up = samples;
    return true;
  })[0];
  ASSERT_TRUE(m.against_device);
  EXPECT_EQ(m.against_device->ratios.size(), 2u);
  EXPECT_GT(m.share_of_device, 0.35);
  EXPECT_LT(m.share_of_device, 0.7);
  EXPECT_GT(m.against_device->load.block_seconds, 0.2) << "least_block_seconds";
  EXPECT_NEAR(m.against_device->load.block_seconds, m.against_device->device.block_seconds, 0.1);
  // Samples are numbered: with transfers, twice without, with transfers.
  std::string order;
  for (int i = of_warming_up; i < samples; ++i) {
    const bool loaded = std::any_of(m.telemetry.begin(), m.telemetry.end(),
                                    [i](const Telemetry& now) { return now.sm_clock_mhz == i; });
    if (order.empty() || order.back() != (loaded ? 'L' : 'D')) order += loaded ? 'L' : 'D';
  }
  EXPECT_EQ(order, "LDL");
}

}  // namespace
}  // namespace ferry
