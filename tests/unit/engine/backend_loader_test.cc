// Finding and loading modules: absent, broken, foreign and other-ABI ones are answers, not crashes.
#include <gmock/gmock.h>

#include "backend_fixture.h"

namespace ferry {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const BackendInfo* find(const std::vector<BackendInfo>& list, const std::string& name) {
  for (const BackendInfo& info : list)
    if (info.name == name) return &info;
  return nullptr;
}

TEST_F(BackendTest, AnAbsentModuleIsListedWithItsFacts) {
  put("ghost.json", R"({"name":"ghost","display_name":"Ghost 9","preference":-1,"kind":"gpu","opens":["plan"],
      "builds":true,"precisions":["fp16"],"gives":"the fastest ghosts","remedy":"setup/install ghost"})");
  const std::vector<BackendInfo> list = Backend::list();
  ASSERT_FALSE(list.empty());
  const BackendInfo& ghost = list.front();  // the smallest preference
  EXPECT_EQ(ghost.name, "ghost");
  EXPECT_EQ(ghost.display_name, "Ghost 9");
  EXPECT_EQ(ghost.gives, "the fastest ghosts");
  EXPECT_EQ(ghost.remedy, "setup/install ghost");
  EXPECT_EQ(ghost.kind, "gpu");
  EXPECT_TRUE(ghost.builds);
  EXPECT_FALSE(ghost.present);
  EXPECT_FALSE(ghost.usable);
  EXPECT_THAT(ghost.reason, HasSubstr("not built or not installed"));
  const Error error = error_of([] { Backend::load("ghost"); });
  EXPECT_EQ(error.stage(), Stage::kBackend);
  EXPECT_EQ(error.hint(), "setup/install ghost");
}

TEST_F(BackendTest, ABrokenModuleIsListedWithTheLoadersMessage) {
  put("broken.json", R"({"name":"broken","display_name":"Broken","remedy":"build it again"})");
  put("libferry_broken.so", "this is no library");
  const std::vector<BackendInfo> list = Backend::list();
  const BackendInfo* broken = find(list, "broken");
  ASSERT_NE(broken, nullptr);
  EXPECT_FALSE(broken->present);
  EXPECT_THAT(broken->reason, HasSubstr("does not load"));
  EXPECT_EQ(broken->remedy, "build it again");
}

TEST_F(BackendTest, DamagedFactsHideNothingElse) {
  put("a.json", "{");
  put("b.json", R"({"name":"other_name"})");
  put("c.json", R"({"name":"c","opens":7})");
  put("good.json", R"({"name":"good"})");
  const std::vector<BackendInfo> list = Backend::list();
  EXPECT_NE(find(list, "good"), nullptr);
  EXPECT_EQ(find(list, "other_name"), nullptr);
}

TEST_F(BackendTest, AnotherAbiPrintsBothNumbers) {
  put("foreign.json", R"({"name":"foreign","display_name":"Foreign"})");
  put_fake_as("foreign");
  environment.set("FERRY_FAKE_MODE", "wrong_abi");
  const Error error = error_of([] { Backend::load("foreign"); });
  EXPECT_THAT(error.cause(), AllOf(HasSubstr("ABI 43"), HasSubstr("ABI 2")));
  const std::vector<BackendInfo> list = Backend::list();
  ASSERT_NE(find(list, "foreign"), nullptr);
  EXPECT_FALSE(find(list, "foreign")->present);
  EXPECT_THAT(find(list, "foreign")->reason, HasSubstr("ABI 43"));
}

TEST_F(BackendTest, ALibraryThatIsNoModuleIsRefused) {
  std::filesystem::copy_file(std::filesystem::canonical("/lib/x86_64-linux-gnu/libz.so.1"),
                             folder_ / "libferry_zip.so");
  EXPECT_THAT(error_of([] { Backend::load("zip"); }).cause(), HasSubstr("no ferry module"));
}

TEST_F(BackendTest, AnUnknownNameShowsTheKnownOnes) {
  put("known.json", R"({"name":"known"})");
  EXPECT_THAT(error_of([] { Backend::load("nonsense"); }).hint(), HasSubstr("known"));
  // Never a path.
  EXPECT_THAT(error_of([] { Backend::load("../../x"); }).cause(), HasSubstr("no backend of that name"));
}

TEST_F(BackendTest, TheTestModuleIsNeverListed) {
  EXPECT_EQ(find(Backend::list(), "fake"), nullptr);
  EXPECT_TRUE(Backend::load("fake").info().usable);
  EXPECT_THAT(error_of([] { Backend::load("nonsense"); }).hint(), Not(HasSubstr("fake")));
}

TEST_F(BackendTest, AMissingSdkIsPresentButNotUsable) {
  environment.set("FERRY_FAKE_MODE", "no_library");
  const Backend backend = Backend::load("fake");
  EXPECT_TRUE(backend.info().present);
  EXPECT_FALSE(backend.info().usable);
  EXPECT_EQ(backend.info().reason, "the fake SDK is missing");
  const Error error = error_of([&] { backend.open_onnx(tiny_onnx(), {}); });
  EXPECT_EQ(error.cause(), "the fake SDK is missing");
  EXPECT_EQ(error.hint(), "unset FERRY_FAKE_MODE");
}

TEST_F(BackendTest, TheSearchPathBeginsWithTheVariable) {
  environment.set("FERRY_BACKEND_PATH", "/one::/two");
  const std::vector<std::string> path = backend_search_path();
  ASSERT_GE(path.size(), 3u);
  EXPECT_EQ(path[0], "/one");
  EXPECT_EQ(path[1], "/two");
}

}  // namespace
}  // namespace ferry
