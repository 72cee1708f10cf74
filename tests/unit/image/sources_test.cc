#include "image/sources.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "ferry/error.h"
#include "ferry/pictures.h"
#include "unit/image/fixtures.h"

namespace ferry {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<Picture> read_all(PictureSource& source) {
  std::vector<Picture> pictures;
  for (Picture p; source.next(p); p = Picture{}) pictures.push_back(p);
  return pictures;
}

std::vector<std::string> names(const std::vector<std::string>& inputs) {
  std::vector<std::string> names;
  for (const Picture& p : read_all(*open_pictures(inputs))) names.push_back(p.name);
  return names;
}

std::string message(const std::vector<std::string>& inputs) {
  try {
    open_pictures(inputs);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// A member of a tar archive in the ustar format.
std::string member(const std::string& name, const std::string& bytes, char type = '0') {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, const std::string& text) { header.replace(at, text.size(), text); };
  const auto octal = [](std::size_t value, int digits) {
    std::string text(static_cast<std::size_t>(digits), '0');
    for (int i = digits - 1; i >= 0; --i, value /= 8)
      text[static_cast<std::size_t>(i)] = static_cast<char>('0' + value % 8);
    return text;
  };
  put(0, name);
  put(100, "0000644");
  put(124, octal(bytes.size(), 11));
  put(136, octal(0, 11));
  put(148, "        ");
  header[156] = type;
  put(257, std::string("ustar\0", 6) + "00");
  std::size_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(148, octal(sum, 6) + std::string("\0 ", 2));
  return header + bytes + std::string((512 - bytes.size() % 512) % 512, '\0');
}
const std::string kEnd(1024, '\0');

TEST(Sources, TakeFilesFoldersListsAndPatternsInTheOrderGiven) {
  const TemporaryFolder f;
  for (const char* name : {"b.jpg", "a.png", "sub/c.webp", "notes.txt", "x1.jpeg", "x2.jpeg"}) f.write(name, "x");
  f.write("list.txt", f / "b.jpg" + "\r\n\n" + f / "gone.jpg" + "\n");
  EXPECT_THAT(names({f / "notes.txt", f.path(), "@" + (f / "list.txt"), f / "x*.jpeg"}),
              ElementsAre(f / "notes.txt", f / "a.png", f / "b.jpg", f / "sub/c.webp", f / "x1.jpeg", f / "x2.jpeg",
                          f / "b.jpg", f / "gone.jpg", f / "x1.jpeg", f / "x2.jpeg"));
  EXPECT_EQ(open_pictures({f.path(), f / "a.png"})->total(), 6);
}

TEST(Sources, SayWhatIsNotThere) {
  const TemporaryFolder f;
  f.write("empty.txt", "\n");
  f.write("only/text.txt", "x");
  EXPECT_THAT(message({f / "absent"}), HasSubstr("no such file or folder"));
  EXPECT_THAT(message({f / "*.jpg"}), HasSubstr("matches nothing"));
  EXPECT_THAT(message({f / "only"}), HasSubstr("no pictures"));
  EXPECT_THAT(message({"@" + (f / "empty.txt")}), HasSubstr("no pictures in this list"));
  EXPECT_THAT(message({"@" + (f / "absent.txt")}), HasSubstr("absent.txt"));
  EXPECT_THAT(message({"/dev/null"}), HasSubstr("neither a file nor a folder"));
}

TEST(Sources, FilesAreReadWhenTheirTurnComes) {
  const TemporaryFolder f;
  Picture good, folder, gone;
  good.name = f.write("a.jpg", "bytes");
  folder.name = f.path();
  gone.name = f / "gone.jpg";
  EXPECT_EQ(encoded_bytes(good), "bytes");
  EXPECT_THROW(encoded_bytes(folder), Error);
  EXPECT_THROW(encoded_bytes(gone), Error);
  Picture endless;
  endless.name = "/dev/zero";
  EXPECT_THROW(encoded_bytes(endless), Error);
}

TEST(Sources, ReadTarArchives) {
  if (!tar_available()) GTEST_SKIP() << "built without libarchive";
  const TemporaryFolder f;
  const std::string tar =
      f.write("set.tar", member("x/a.jpg", "first") + member("x/a.cls", "3") + member("x/d.jpg", "", '5') +
                             member("x/b.PNG", std::string(700, 'b')) + kEnd);
  const std::vector<Picture> pictures = read_all(*open_pictures({tar}));
  ASSERT_EQ(pictures.size(), 2u);
  EXPECT_EQ(pictures[0].name, tar + ":x/a.jpg");
  EXPECT_FALSE(pictures[0].is_file);
  EXPECT_EQ(pictures[0].bytes, "first");
  EXPECT_EQ(pictures[1].bytes, std::string(700, 'b'));
  EXPECT_EQ(open_pictures({tar})->total(), 0);
}

TEST(Sources, ABrokenArchiveGivesWhatCameBeforeAndOneError) {
  if (!tar_available()) GTEST_SKIP() << "built without libarchive";
  const TemporaryFolder f;
  const std::string whole = member("a.jpg", "first") + member("b.jpg", std::string(5000, 'b')) + kEnd;
  const std::vector<Picture> cut = read_all(*open_pictures({f.write("cut.tar", whole.substr(0, 3000))}));
  ASSERT_GE(cut.size(), 2u);
  EXPECT_EQ(cut[0].bytes, "first");
  EXPECT_FALSE(cut[1].error.empty());
  std::string damaged = whole;
  damaged.replace(1024, 300, 300, '\x7f');
  const std::vector<Picture> bad = read_all(*open_pictures({f.write("bad.tar", damaged)}));
  ASSERT_EQ(bad.size(), 2u);
  EXPECT_EQ(bad[1].name, f / "bad.tar");
  EXPECT_THAT(bad[1].error, HasSubstr("not a readable tar archive"));
}

}  // namespace
}  // namespace ferry
