// measure() counts time by the records, so these competitors need no clock and every number is exact.
#include "ferry/measure.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "ferry/error.h"

namespace ferry {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Call {
  std::string name;
  bool resident;
};

class Measuring : public testing::Test {
 protected:
  // A competitor whose runs take `wall_ms(i)` for its i-th run with copies; resident runs take half of that.
  Competitor competitor(const std::string& name, std::function<double(int)> wall_ms, bool has_resident = false) {
    Competitor c;
    c.name = name;
    c.precision = "fp32";
    c.batch = 4;
    c.has_resident = has_resident;
    c.run = [this, name, wall_ms, count = 0](bool resident) mutable {
      calls_.push_back({name, resident});
      const double wall = wall_ms(resident ? count : count++);
      return resident ? RunRecord{wall / 2, {0.1, kNaN, wall / 2, kNaN}} : RunRecord{wall, {0.2, 0.5, wall / 2, 0.25}};
    };
    return c;
  }
  Competitor steady(const std::string& name, double ms, bool has_resident = false) {
    return competitor(
        name, [ms](int) { return ms; }, has_resident);
  }
  static MeasureOptions options() {
    MeasureOptions o;
    o.min_runs = 50;
    o.min_seconds = 0.2;
    o.max_seconds = 2;
    o.warmup_seconds = 0.05;
    o.rounds = 5;
    return o;
  }
  std::vector<Call> calls_;
};

TEST_F(Measuring, TakesTheLeastRunsAndSeconds) {
  std::vector<Competitor> c{steady("fast", 1), steady("slow", 10)};
  const std::vector<Measurement> m = measure(c, options());
  EXPECT_EQ(m[0].runs, 200);  // 0.2 s of 1 ms
  EXPECT_EQ(m[1].runs, 50);   // 50 runs of 10 ms
  EXPECT_EQ(m[0].engine, "fast");
  EXPECT_EQ(m[0].batch, 4);
  EXPECT_EQ(m[0].wall.median, 1);
  EXPECT_EQ(m[0].images_per_second, 4000);
  EXPECT_EQ(m[0].timed, "host in to host out");
  EXPECT_EQ(m[0].round_medians_ms.size(), 5u);
  EXPECT_THAT(m[0].warnings, IsEmpty());
}

TEST_F(Measuring, AlternatesInRounds) {
  std::vector<Competitor> c{steady("a", 5), steady("b", 5)};
  MeasureOptions o = options();
  o.warmup_seconds = 0;
  measure(c, o);
  std::string turns;
  for (const Call& call : calls_)
    if (turns.empty() || turns.back() != call.name[0]) turns += call.name;
  EXPECT_EQ(turns,
            "ab"
            "ababababab");  // warm-up, then five rounds
}

TEST_F(Measuring, AVerySlowEngineStopsAtTheTimeLimitButRunsThreeTimes) {
  std::vector<Competitor> c{steady("slow", 400), steady("slower", 5000)};
  const std::vector<Measurement> m = measure(c, options());
  EXPECT_EQ(m[0].runs, 5);  // one a round of 0.4 s: 2 s over all
  EXPECT_GE(m[1].runs, 3);
  EXPECT_THAT(m[1].warnings, Contains(HasSubstr("few runs")));
}

TEST_F(Measuring, TimesResidentRunsApartFromWholeRuns) {
  std::vector<Competitor> c{steady("gpu", 2, true)};
  const std::vector<Measurement> m = measure(c, options());
  ASSERT_TRUE(m[0].device);
  EXPECT_EQ(m[0].timed, "device compute");
  EXPECT_EQ(m[0].device->median, 1);
  EXPECT_EQ(m[0].wall.median, 2);
  EXPECT_EQ(m[0].h2d->median, 0.5);
  EXPECT_EQ(m[0].d2h->median, 0.25);
  EXPECT_EQ(m[0].enqueue->median, 0.1);  // of the resident runs
  EXPECT_EQ(m[0].images_per_second, 4000);
}

TEST_F(Measuring, WithoutComputeTimesTheWallIsTimed) {
  Competitor c = steady("opaque", 2, true);
  c.run = [](bool) { return RunRecord{2, {kNaN, kNaN, kNaN, kNaN}}; };
  std::vector<Competitor> list{c};
  const Measurement m = measure(list, options())[0];
  EXPECT_FALSE(m.device);
  EXPECT_FALSE(m.enqueue);
  EXPECT_EQ(m.timed, "host in to host out");
}

TEST_F(Measuring, WarmsUpUntilSteady) {
  const auto settling = [](int i) { return i < 40 ? 20.0 - 0.4 * i : 4.0; };  // gets faster for 40 runs
  MeasureOptions o = options();
  o.warmup_seconds = 0.2;
  std::vector<Competitor> c{competitor("settling", settling)};
  const Measurement m = measure(c, o)[0];
  EXPECT_EQ(m.wall.max, 4);  // no run of the warm-up is in it
  EXPECT_THAT(m.warnings, Not(Contains(HasSubstr("unstable"))));
}

TEST_F(Measuring, AnEngineThatNeverSettlesIsMeasuredAndSaidToBeUnstable) {
  const auto wild = [](int i) { return i % 3 == 0 ? 10.0 : 2.0; };
  std::vector<Competitor> c{competitor("wild", wild)};
  const Measurement m = measure(c, options())[0];
  EXPECT_THAT(m.warnings, Contains(HasSubstr("unstable: one run in ten")));
}

TEST_F(Measuring, DriftBetweenRoundsIsSaid) {
  int turn = 0;
  Competitor c = steady("drifting", 1);
  c.run = [&turn](bool) { return RunRecord{10 + 0.02 * turn++, {kNaN, kNaN, kNaN, kNaN}}; };
  MeasureOptions o = options();
  o.warmup_seconds = 0;
  std::vector<Competitor> list{c};
  EXPECT_THAT(measure(list, o)[0].warnings, Contains(HasSubstr("medians of the rounds")));
}

TEST_F(Measuring, EnqueueBoundTransferBoundThrottledAndWanderingClocksAreSaid) {
  Competitor c = steady("gpu", 1, true);
  c.run = [](bool resident) {
    return resident ? RunRecord{1, {0.5, kNaN, 0.4, kNaN}} : RunRecord{2, {0.5, 0.3, 0.4, 0.2}};
  };
  int sample = 0;
  c.telemetry = [&sample] {
    Telemetry t{sample % 2 == 0 ? 1500.0 : 1900.0, 5000, 60, 200, 1e9, 8e9};
    t.throttle_reasons = sample++ == 3 ? 0x41 : 0x1;  // bit 0 is idle: harmless
    return std::optional(t);
  };
  std::vector<Competitor> list{c};
  const Measurement m = measure(list, options())[0];
  EXPECT_EQ(m.telemetry.size(), 5u);
  EXPECT_THAT(m.warnings, Contains(HasSubstr("bound by enqueue")));
  EXPECT_THAT(m.warnings, Contains(HasSubstr("bound by transfer")));
  EXPECT_THAT(m.warnings, Contains("throttled: temperature (hardware)"));
  EXPECT_THAT(m.warnings, Contains(HasSubstr("between 1500 and 1900 MHz")));
  EXPECT_EQ(m.warnings.size(), 4u);
}

TEST_F(Measuring, ProgressCanCancel) {
  std::vector<Competitor> c{steady("a", 5), steady("b", 5)};
  const auto stop = [](const std::string& phase, std::int64_t done, std::int64_t total) {
    EXPECT_LE(done, total);
    return !phase.starts_with("measuring b");
  };
  try {
    measure(c, options(), stop);
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.stage(), Stage::kInterrupted);
  }
}

TEST_F(Measuring, AFailingRunAndASenselessRecordEndIt) {
  Competitor broken = steady("broken", 1);
  broken.run = [](bool) -> RunRecord { throw Error(Stage::kRun, "x", "no"); };
  std::vector<Competitor> list{broken};
  EXPECT_THROW(measure(list, options()), Error);
  for (const double wall : {0.0, -1.0, kNaN}) {
    list[0].run = [wall](bool) { return RunRecord{wall, {}}; };
    EXPECT_THROW(measure(list, options()), Error) << wall;
  }
}

TEST_F(Measuring, SenselessOptionsAreRefused) {
  std::vector<Competitor> c{steady("a", 5)};
  MeasureOptions o = options();
  o.rounds = 0;
  EXPECT_THROW(measure(c, o), Error);
  o = options();
  o.max_seconds = 0.1;
  EXPECT_THROW(measure(c, o), Error);
  c[0].run = nullptr;
  EXPECT_THROW(measure(c, options()), Error);
}

}  // namespace
}  // namespace ferry
