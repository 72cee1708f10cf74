#include <gmock/gmock.h>

#include <sstream>

#include "crafted.h"
#include "report/text.h"

namespace ferry {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

void slow_down(ComparisonRow& row, double factor) {
  Measurement& m = row.measurement;
  for (Statistics* s : {&m.wall, &*m.device}) s->median *= factor;
  for (double& median : m.round_medians_ms) median *= factor;
}

TEST(Difference, OfARunWithItselfIsNothing) {
  const ReportDifference d = difference(crafted(), crafted());
  EXPECT_EQ(d.changes.size(), 6u);
  for (const ReportChange& c : d.changes) {
    EXPECT_FALSE(c.beyond_noise);
    EXPECT_EQ(c.change, 0);
  }
  EXPECT_THAT(d.only_before, IsEmpty());
  EXPECT_THAT(d.only_after, IsEmpty());
  EXPECT_THAT(d.notes, IsEmpty());
  EXPECT_FALSE(got_worse(d));
}

TEST(Difference, FasterIsNotWorseAndRowsOfOneNameKeepTheirPlaces) {
  Comparison before = crafted(), after = crafted();
  for (Comparison* c : {&before, &after}) {
    ComparisonRow twin = c->rows[1];
    slow_down(twin, 3);
    c->rows.push_back(twin);
  }
  EXPECT_FALSE(got_worse(difference(before, after)));
  slow_down(after.rows[1], 0.5);
  EXPECT_FALSE(got_worse(difference(before, after)));
  slow_down(after.rows.back(), 1.5);
  EXPECT_TRUE(got_worse(difference(before, after)));
}

TEST(Difference, FlagsWhatExceedsTheNoiseOnly) {
  Comparison after = crafted();
  slow_down(after.rows[1], 1.5);
  slow_down(after.rows[4], 1.01);
  slow_down(after.rows[3], 0.5);
  ReportDifference d = difference(crafted(), after);
  EXPECT_TRUE(d.changes[1].beyond_noise);
  EXPECT_NEAR(d.changes[1].change, 0.5, 1e-9);
  EXPECT_FALSE(d.changes[4].beyond_noise);  // 1 %
  EXPECT_TRUE(d.changes[3].beyond_noise);
  EXPECT_THAT(to_table(d, false), HasSubstr("slower"));
  EXPECT_THAT(to_table(d, false), HasSubstr("faster"));
  Comparison noisy = after;
  noisy.rows[1].measurement.round_medians_ms = {0.6, 1.2, 0.7, 0.9, 1.0};
  EXPECT_FALSE(difference(crafted(), noisy).changes[1].beyond_noise);
}

TEST(Difference, SaysWhatWasLostAndWhatIsNotComparable) {
  Comparison after = crafted();
  after.rows[1].agreement.ok = false;
  after.rows[4].failure = "open: no";
  after.rows[6].failure.clear();
  after.network = "resnet50";
  after.machine_json = R"({"cpu":{"model":"Other"},"gpus":[{"name":"G","driver":"1"}]})";
  const ReportDifference d = difference(crafted(), after);
  EXPECT_TRUE(d.changes[1].agreement_lost);
  EXPECT_EQ(d.stopped.size(), 1u);
  EXPECT_THAT(d.only_before, IsEmpty());
  EXPECT_TRUE(got_worse(d));
  EXPECT_EQ(d.only_after.size(), 1u);
  EXPECT_EQ(d.notes.size(), 2u);
  EXPECT_THAT(to_table(d, false), HasSubstr("WRONG"));
  EXPECT_THAT(to_table(d, false), HasSubstr("does not run any more"));
  EXPECT_THAT(to_table(d, false), HasSubstr("Another network: resnet101 before, resnet50 after"));
}

TEST(Difference, ANaNIsBeyondNoiseAndLinesStayNarrow) {
  Comparison after = crafted(std::string(200, 'y'));
  Comparison before = crafted(std::string(200, 'y'));
  after.rows[1].measurement.device->median = std::numeric_limits<double>::quiet_NaN();
  const ReportDifference d = difference(before, after);
  EXPECT_TRUE(d.changes[1].beyond_noise);
  std::istringstream in(to_table(d, false));
  for (std::string line; std::getline(in, line);) EXPECT_LE(display_width(line), 100u) << line;
  EXPECT_THAT(to_table(d, false), Not(HasSubstr("\x1b")));
  EXPECT_THAT(to_table(d, true), HasSubstr("\x1b[31m"));
}

}  // namespace
}  // namespace ferry
