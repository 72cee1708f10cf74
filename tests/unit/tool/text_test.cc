#include "text.h"

#include <gmock/gmock.h>

#include <sstream>

namespace ferry::tool {
namespace {

TEST(Text, NumbersAsPeopleReadThem) {
  EXPECT_EQ(human_bytes(0), "0 bytes");
  EXPECT_EQ(human_bytes(999), "999 bytes");
  EXPECT_EQ(human_bytes(999'950), "1.0 MB");
  EXPECT_EQ(human_bytes(89'514'547), "89.5 MB");
  EXPECT_EQ(human_bytes(178'400'000), "178 MB");
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(44'549'160), "44,549,160");
  EXPECT_EQ(human_count(-1'000), "-1,000");
  EXPECT_EQ(human_seconds(0.418), "0.42 s");
  EXPECT_EQ(human_seconds(185), "3 min 05 s");
}

TEST(Text, WhatComesOutOfFilesCannotSteerATerminal) {
  EXPECT_EQ(printable("a\x1b[2J\tb\x7f"), "a\\x1b[2J\\x09b\\x7f");
  EXPECT_EQ(printable("Grüße"), "Grüße");
}

TEST(Text, QuotesOnlyWhatAShellWouldTakeApart) {
  EXPECT_EQ(shell_quoted("dir/resnet101.pth"), "dir/resnet101.pth");
  EXPECT_EQ(shell_quoted("my model.pth"), "'my model.pth'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted(""), "''");
}

TEST(Text, TablesAlignByColumnsOfTheTerminal) {
  EXPECT_EQ(table({{"name", "ms"}, {"Grüße", "1.5"}, {"x", "12.25"}}, "lr"),
            "name      ms\nGrüße    1.5\nx      12.25\n");
}

TEST(Text, WrapsWithoutBreakingWordsOrTheWidth) {
  const std::string text = key_values({{"key", "one two three four five six seven"}, {"empty", ""}, {"k", "v"}}, 20);
  EXPECT_EQ(text,
            "  key  one two three\n"
            "       four five six\n"
            "       seven\n"
            "  k    v\n");
  EXPECT_EQ(wrapped("unbreakable", 5, 2), "unbreakable");
}

}  // namespace
}  // namespace ferry::tool
