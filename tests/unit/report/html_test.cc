#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>
#include <fstream>

#include "crafted.h"
#include "report/html_parts.h"

namespace ferry {
namespace {

using testing::HasSubstr;
using testing::Not;

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t n = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

TEST(Html, AnswersFirst) {
  const std::string page = to_html(crafted());
  EXPECT_THAT(page, HasSubstr("<h1>TensorRT for RTX in fp16 runs resnet101 8.9"));
  EXPECT_THAT(page, HasSubstr("times faster than PyTorch (LibTorch) in fp32 at batch 8, and agrees with it</h1>"));
  EXPECT_THAT(page, HasSubstr("Batch 8"));
  EXPECT_THAT(page, HasSubstr("wrong: relative error 0.4 exceeds 0.15"));
  EXPECT_THAT(page, HasSubstr("did not run: build: model.onnx"));
  if (const char* keep = std::getenv("FERRY_KEEP_HTML")) std::ofstream(keep) << page;  // to look at it
}

TEST(Html, ShowsWhatEachEngineMadeOfThePictures) {
  Comparison c = crafted();
  EXPECT_THAT(to_html(c), Not(HasSubstr("On the pictures")));
  const double unknown = std::nan("");
  c.rows[0].accuracy = PictureAccuracy{400, 0.7975, 0.9575, unknown, unknown, unknown, ""};
  c.rows[1].accuracy = PictureAccuracy{400, 0.795, 0.9575, 0.995, 0.0016, 0.043, ""};
  c.rows[2].accuracy = PictureAccuracy{0, unknown, unknown, unknown, unknown, unknown, "a<b.jpg: NaN"};
  c.rows.push_back(c.rows[1]);  // another batch size says nothing new
  const std::string page = to_html(c);
  EXPECT_THAT(page, HasSubstr("On the pictures"));
  EXPECT_THAT(page, HasSubstr("<td>400</td><td class=\"mark\">79.75 %</td><td>95.75 %</td><td>–</td>"));
  EXPECT_EQ(
      count(page, "<td class=\"mark\">79.50 %</td><td>95.75 %</td><td>99.50 %</td><td>1.6e-03</td><td>4.3e-02</td>"),
      1u);
  EXPECT_THAT(page, HasSubstr("a&lt;b.jpg: NaN"));
}

TEST(Html, NeedsNoNetworkAndNoScript) {
  const std::string page = to_html(crafted());
  for (const char* word : {"http:", "https:", "<script", "src=", "@import", "url("})
    EXPECT_THAT(page, Not(HasSubstr(word)));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THAT(page, HasSubstr("width=device-width"));
}

TEST(Html, IsBalanced) {
  const std::string page = to_html(crafted());
  for (const char* tag :
       {"div", "section", "svg", "table", "tr", "td", "ul", "li", "dl", "dd", "h2", "main", "span", "p"})
    EXPECT_EQ(count(page, std::string("<") + tag + ">") + count(page, std::string("<") + tag + " "),
              count(page, std::string("</") + tag + ">"))
        << tag;
}

TEST(Html, NamesCannotBreakOut) {
  const std::string hostile = "\"><img onerror='x'>&\xff";
  Comparison c = crafted(hostile);
  c.network = c.origin = c.inputs = c.command = hostile;
  c.notes.push_back(hostile);
  c.rows[1].device = c.rows[1].sdk_version = hostile;
  c.rows[2].agreement.failure = hostile;
  c.rows[1].measurement.warnings.push_back(hostile);
  const std::string page = to_html(c);
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  EXPECT_THAT(page, Not(HasSubstr("\xff")));
  EXPECT_THAT(page, HasSubstr("&quot;&gt;&lt;img"));
}

TEST(Html, WithoutBaselineRowsOrNumbersIsStillAPage) {
  EXPECT_THAT(to_html(Comparison{}), HasSubstr("no engine ran and agreed"));
  Comparison c = crafted();
  for (ComparisonRow& row : c.rows) row.baseline = false;
  set_speedups(c);
  EXPECT_THAT(to_html(c), HasSubstr("images a second"));
  c.rows[1].measurement.samples_ms.clear();
  c.rows[1].agreement.relative_error = std::numeric_limits<double>::quiet_NaN();
  c.random_weights = true;
  const std::string page = to_html(c);
  EXPECT_THAT(page, Not(HasSubstr("width=\"nan")));
  EXPECT_THAT(page, HasSubstr("Random weights"));
}

TEST(Html, ShowsWhatChangedSinceAnEarlierRun) {
  Comparison after = crafted();
  after.rows[1].measurement.device->median *= 2;
  const Comparison before = crafted();
  const std::string page = to_html(after, &before);
  EXPECT_THAT(page, HasSubstr("0 got faster and 1 slower beyond noise"));
  EXPECT_THAT(page, HasSubstr("+100.0 %"));
  EXPECT_THAT(to_html(before, &before), HasSubstr("Nothing changed beyond the noise"));
  EXPECT_EQ(count(page, "<tr"), count(page, "</tr>"));
}

TEST(Html, StacksWhereTheTimeGoes) {
  Comparison c = crafted();
  c.rows[0].layers->layers[0].name = "layer3.4.conv2 <b>";
  const std::string page = to_html(c);
  EXPECT_THAT(page, HasSubstr("Where the time goes"));
  EXPECT_THAT(page, HasSubstr("</i>layer3 0.020 ms, 95 % (floor "));
  EXPECT_THAT(page, HasSubstr("layer3.4.conv2 &lt;b&gt;"));
  EXPECT_THAT(page, HasSubstr("floor unknown"));
  for (ComparisonRow& row : c.rows) row.layers.reset();
  EXPECT_THAT(to_html(c), Not(HasSubstr("Where the time goes")));
}

TEST(Html, ABenchWithoutReferenceIsNotCalledWrong) {
  Comparison c = crafted();
  for (ComparisonRow& row : c.rows) {
    row.agreement = {};
    row.agreement.ok = true;
    row.agreement.relative_error = std::numeric_limits<double>::quiet_NaN();
    row.baseline = false;
    row.speedup = 0;
  }
  const std::string page = to_html(c);
  EXPECT_THAT(page, Not(HasSubstr("Accuracy against")));
  EXPECT_THAT(page, Not(HasSubstr("<span>wrong:")));
  EXPECT_THAT(page, HasSubstr("not compared with a reference"));
}

TEST(Html, IsTheSameFromStoredResults) {
  const std::string stored = to_html(comparison_from_json(to_json(crafted()), "x"));
  EXPECT_THAT(stored, HasSubstr("TensorRT for RTX in fp16 runs resnet101 8.9"));
  EXPECT_THAT(stored, HasSubstr("class=\"bar dist best\""));
}

}  // namespace
}  // namespace ferry
