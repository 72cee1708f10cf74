#include <gmock/gmock.h>

#include "ferry/compare.h"

namespace ferry {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

Statistics around(double median) {
  Statistics s;
  s.count = 50;
  s.median = s.mean = s.p90 = s.p99 = s.min = s.max = median;
  return s;
}

ComparisonRow row(const std::string& engine, const std::string& precision, std::int64_t batch, double wall_ms,
                  double device_ms = 0) {
  ComparisonRow r;
  r.engine = engine;
  r.precision = precision;
  r.device_kind = device_ms > 0 ? "gpu" : "cpu";
  r.measurement.batch = batch;
  r.measurement.runs = 50;
  r.measurement.wall = around(wall_ms);
  if (device_ms > 0) r.measurement.device = around(device_ms);
  r.agreement.ok = true;
  return r;
}

ComparisonRow baseline(std::int64_t batch, double wall_ms, double device_ms = 0) {
  ComparisonRow r = row("PyTorch", "fp32", batch, wall_ms, device_ms);
  r.baseline = true;
  return r;
}

TEST(Speedups, AreOfTheSameBatchAndTheSameKindOfTiming) {
  Comparison c;
  c.rows = {baseline(1, 6, 5.4), row("TensorRT", "fp16", 1, 0.9, 0.6), baseline(8, 20, 16),
            row("TensorRT", "fp16", 8, 2, 0.8)};
  set_speedups(c);
  EXPECT_NEAR(c.rows[1].speedup, 9, 1e-9);   // device against device
  EXPECT_NEAR(c.rows[3].speedup, 20, 1e-9);  // batch 8 against batch 8
  EXPECT_EQ(c.rows[0].speedup, 1);
  c.rows[0].measurement.device.reset();  // a baseline that cannot time compute alone: wall against wall
  set_speedups(c);
  EXPECT_NEAR(c.rows[1].speedup, 6 / 0.9, 1e-9);
  EXPECT_THAT(c.notes, IsEmpty());
}

TEST(Speedups, AreNotGivenBetweenCpuAndGpuAndANoteSaysWhy) {
  Comparison c;
  c.rows = {baseline(1, 126), row("TensorRT", "fp16", 1, 0.9, 0.6), row("OpenVINO", "fp32", 1, 88)};
  set_speedups(c);
  set_speedups(c);
  EXPECT_EQ(c.rows[1].speedup, 0);
  EXPECT_NEAR(c.rows[2].speedup, 126.0 / 88, 1e-9);
  ASSERT_EQ(c.notes.size(), 1u);
  EXPECT_THAT(c.notes[0], HasSubstr("TensorRT ran on the gpu, the reference PyTorch on the cpu"));
  EXPECT_THAT(classic_line(c), HasSubstr("OpenVINO"));
}

TEST(Speedups, AFastWrongEngineAndAFailedOneGetNone) {
  Comparison c;
  c.rows = {baseline(1, 126), row("Wrong", "fp16", 1, 1), row("Broken", "fp32", 1, 1)};
  c.rows[1].agreement.ok = false;
  c.rows[2].failure = "open: no such plan";
  c.rows[2].agreement.ok = false;
  set_speedups(c);
  EXPECT_EQ(c.rows[1].speedup, 0);
  EXPECT_EQ(c.rows[2].speedup, 0);
  EXPECT_THAT(classic_line(c), IsEmpty());
  EXPECT_FALSE(all_agree(c));
  c.rows.erase(c.rows.begin() + 1);
  EXPECT_TRUE(all_agree(c));  // what could not run did not disagree
}

TEST(ClassicLine, NamesTheFastestThatAgreesAtTheSmallestBatch) {
  Comparison c;
  c.rows = {baseline(8, 960), row("OpenVINO", "fp32", 8, 697), baseline(1, 126), row("OpenVINO", "fp32", 1, 88),
            row("Slow", "fp32", 1, 100)};
  set_speedups(c);
  EXPECT_EQ(
      classic_line(c),
      "100 inferences at batch 1: PyTorch fp32 12.6 s, OpenVINO fp32 8.8 s, 1.43 times faster (host in to host out)");
  c.rows.resize(3);
  c.rows.push_back(row("OpenVINO", "fp32", 1, 252));
  set_speedups(c);
  EXPECT_THAT(classic_line(c), HasSubstr("2.00 times slower"));
  c.rows.erase(c.rows.begin() + 2);
  c.rows.erase(c.rows.begin());
  EXPECT_THAT(classic_line(c), IsEmpty());  // no baseline
}

}  // namespace
}  // namespace ferry
