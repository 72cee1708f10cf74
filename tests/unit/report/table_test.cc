#include <gmock/gmock.h>

#include <sstream>

#include "crafted.h"
#include "report/numbers.h"
#include "report/text.h"

namespace ferry {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> result;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) result.push_back(line);
  return result;
}

void expect_narrow(const std::string& table) {
  for (const std::string& line : lines(table)) EXPECT_LE(display_width(line), 100u) << line;
}

TEST(Table, SaysWhatWasComparedAndHowFast) {
  const std::string table = to_table(crafted(), false);
  EXPECT_THAT(table, HasSubstr("resnet101 from resnet101.pth"));
  EXPECT_THAT(table, HasSubstr("batch 8"));
  EXPECT_THAT(table, HasSubstr("8.9"));  // times faster
  EXPECT_THAT(table, HasSubstr("WRONG: relative error 0.4 exceeds 0.15"));
  EXPECT_THAT(table, HasSubstr("not run: build: model.onnx"));
  EXPECT_THAT(table, HasSubstr("TensorRT was skipped"));
  EXPECT_THAT(table, HasSubstr("timed: device compute"));
  EXPECT_THAT(table.substr(table.rfind("\n\n")),
              HasSubstr("100 inferences at batch 1: PyTorch (LibTorch) fp32 0.54 s"));
  expect_narrow(table);
}

TEST(Table, NeverExceedsAHundredColumns) {
  for (const std::string& name :
       {std::string(300, 'x'), std::string("Ein sehr langer Name mit Umlauten äöü und mehr als genug Buchstaben"),
        std::string("東京の非常に長いエンジンの名前東京の非常に長いエンジンの名前東京の非常に長いエンジンの名前"),
        std::string("new\nline and \x1b[31m escape and broken \xff\xfe bytes, long enough to be cut")}) {
    Comparison c = crafted(name);
    c.network = c.origin = c.inputs = name;
    c.notes.push_back(name + name);
    c.rows[1].measurement.warnings.push_back(name);
    c.rows[2].agreement.failure = name;
    c.rows[6].failure = name;
    c.rows[1].device = c.rows[1].sdk_version = name;
    expect_narrow(to_table(c, false));
    EXPECT_THAT(to_table(c, false), Not(HasSubstr("\x1b")));
  }
}

TEST(Table, ShowsWhatPicturesSaidInItsOwnColumns) {
  Comparison c = crafted();
  EXPECT_THAT(to_table(c, false), Not(HasSubstr("agree ")));
  PictureAccuracy good;
  good.images = 400;
  good.top1 = 0.795;
  good.agreement = 0.9975;
  c.rows[1].accuracy = good;
  PictureAccuracy bad;
  bad.failure = "x.jpg: the scores hold NaN or infinity";
  c.rows[2].accuracy = bad;
  const std::string text = to_table(c, false);
  EXPECT_THAT(text, HasSubstr("99.75%   79.50%"));
  EXPECT_THAT(text, HasSubstr("pictures: x.jpg"));
  EXPECT_THAT(text, Not(HasSubstr("p99 ms")));
  expect_narrow(text);
}

TEST(Table, HugeAndTinyNumbersStayInTheirColumns) {
  for (const double factor : {1e-6, 1e6}) {
    Comparison c = crafted();
    for (ComparisonRow& row : c.rows) {
      Measurement& m = row.measurement;
      for (Statistics* s : {&m.wall, m.device ? &*m.device : &m.wall}) s->median *= factor, s->p99 *= factor;
      m.images_per_second /= factor;
    }
    expect_narrow(to_table(c, false));
  }
}

TEST(Table, ColoursOnlyWhenAsked) {
  EXPECT_THAT(to_table(crafted(), false), Not(HasSubstr("\x1b[")));
  EXPECT_THAT(to_table(crafted(), true), HasSubstr("\x1b[32m"));
}

TEST(Table, LabelsRandomWeights) {
  Comparison c = crafted();
  EXPECT_THAT(to_table(c, false), Not(HasSubstr("RANDOM")));
  c.random_weights = true;
  EXPECT_THAT(to_table(c, false), HasSubstr("RANDOM WEIGHTS"));
}

TEST(Table, OfNothingIsStillText) { EXPECT_FALSE(to_table(Comparison{}, false).empty()); }

TEST(Text, WidthCountsColumnsNotBytes) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("äöü"), 3u);
  EXPECT_EQ(display_width("東京"), 4u);
  EXPECT_EQ(display_width("e\u0301"), 1u);
  EXPECT_EQ(display_width("\xff\xc3"), 2u);
}

TEST(Text, FitNeverCutsACharacter) {
  EXPECT_EQ(fit("äöü", 3), "äöü");
  EXPECT_EQ(fit("äöüß", 3), "äö…");
  EXPECT_EQ(fit("東京都", 4), "東…");
  EXPECT_EQ(fit("abc", 0), "");
  EXPECT_EQ(left("ab", 4), "ab  ");
  EXPECT_EQ(right("äb", 4), "  äb");
}

TEST(Text, WrapBreaksAtSpacesAndAlwaysEnds) {
  EXPECT_THAT(wrap("one two three", 8), testing::ElementsAre("one two", "three"));
  EXPECT_THAT(wrap("unbreakable", 4), testing::ElementsAre("unbr", "eaka", "ble"));
  EXPECT_THAT(wrap("a\nb", 8), testing::ElementsAre("a", "b"));
  EXPECT_THAT(wrap("東", 1), testing::ElementsAre("東"));
  EXPECT_TRUE(wrap("", 8).empty());
}

TEST(Numbers, KeepTheDigitsThatMeanSomething) {
  EXPECT_EQ(milliseconds(0.6041), "0.604");
  EXPECT_EQ(milliseconds(126.04), "126.0");
  EXPECT_EQ(milliseconds(std::numeric_limits<double>::quiet_NaN()), "-");
  EXPECT_EQ(rate(24100.4), "24100");
  EXPECT_EQ(small(0), "0");
  EXPECT_EQ(small(std::numeric_limits<double>::quiet_NaN()), "NaN");
  EXPECT_EQ(share(1), "100 %");
  EXPECT_EQ(share(0.9999), "99.9 %");  // never rounded up to agreement
}

}  // namespace
}  // namespace ferry
