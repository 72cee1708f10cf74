#include "ferry/contact_sheet.h"

#include <gmock/gmock.h>

namespace ferry {
namespace {

using testing::HasSubstr;
using testing::Not;

ContactSheet two_engines() {
  ContactSheet sheet;
  sheet.title = "net: 3 photographs";
  sheet.engines = {"One fp32", "Two fp16"};
  sheet.facts = {{"model", "<net>.pth"}};
  sheet.photographs = {
      {"same.jpg", "\xff\xd8", {{{1, "cat", 0.9f}, {2, "dog", 0.1f}}, {{1, "cat", 0.8f}}}, ""},
      {"<other>.jpg", "", {{{1, "cat", 0.6f}}, {{2, "a \"dog\"", 0.5f}}}, ""},
      {"broken.jpg", "", {{}, {}}, "truncated"},
  };
  return sheet;
}

TEST(ContactSheets, ShowDisagreementsFirst) {
  const std::string page = to_html(two_engines());
  EXPECT_EQ(disagreements(two_engines()), 1u);
  EXPECT_LT(page.find("Where engines disagree"), page.find("&lt;other&gt;.jpg"));
  EXPECT_LT(page.find("&lt;other&gt;.jpg"), page.find("The others"));
  EXPECT_LT(page.find("The others"), page.find("same.jpg"));
  EXPECT_THAT(page, HasSubstr("Two fp16: a &quot;dog&quot;, 50.0 %"));
  EXPECT_THAT(page, HasSubstr("Two fp16: the same, 80.0 %"));
  EXPECT_THAT(page, HasSubstr("not classified: truncated"));
  EXPECT_THAT(page, HasSubstr("data:image/jpeg;base64,/9g="));
  EXPECT_THAT(page, HasSubstr("width:90.00%"));
  EXPECT_THAT(page, Not(HasSubstr("<net>")));
}

TEST(ContactSheets, SayWhereAllAgree) {
  ContactSheet sheet = two_engines();
  sheet.photographs.erase(sheet.photographs.begin() + 1);
  EXPECT_THAT(to_html(sheet), HasSubstr("the same on all of these"));
  EXPECT_THAT(to_html(sheet), Not(HasSubstr("The others")));
}

TEST(ContactSheets, OfOneEngineHaveNoGroups) {
  ContactSheet sheet = two_engines();
  sheet.engines.pop_back();
  for (auto& photograph : sheet.photographs) photograph.labels.resize(1);
  sheet.left_out = 7;
  const std::string page = to_html(sheet);
  EXPECT_EQ(disagreements(sheet), 0u);
  EXPECT_THAT(page, Not(HasSubstr("agree")));
  EXPECT_THAT(page, HasSubstr("7 more are not shown"));
}

}  // namespace
}  // namespace ferry
