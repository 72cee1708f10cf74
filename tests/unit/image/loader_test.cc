#include <gmock/gmock.h>

#include <atomic>
#include <cstring>

#include "ferry/error.h"
#include "ferry/image_set.h"
#include "unit/image/fixtures.h"

namespace ferry {
namespace {

Preprocessing small_preset() {
  Preprocessing preset;
  preset.resize = 20;
  preset.crop = 16;
  return preset;
}

std::vector<ImageItem> twenty_items() {
  std::vector<ImageItem> items;
  for (int i = 0; i < 20; ++i)
    items.push_back(
        {i % 5 == 3 ? "/nowhere/" + std::to_string(i) + ".jpg" : fixture(i % 2 ? "baseline.jpg" : "tall.png"), i});
  return items;
}

struct Seen {
  std::vector<std::size_t> items;
  std::vector<float> data;
  LoadReport report;
};

Seen load_all(const LoaderOptions& options) {
  Seen seen;
  const std::size_t floats = Preprocessor(options.preprocessing).floats();
  seen.report = load_batches(twenty_items(), options, [&](const ImageBatch& batch) {
    seen.items.insert(seen.items.end(), batch.items.begin(), batch.items.end());
    seen.data.insert(seen.data.end(), batch.data, batch.data + batch.items.size() * floats);
    return true;
  });
  return seen;
}

TEST(Loader, KeepsTheOrderAndLeavesBrokenFilesOut) {
  LoaderOptions options{.preprocessing = small_preset(), .decode = {}, .batch = 3, .threads = 1, .buffers = {}};
  const Seen one = load_all(options);
  EXPECT_THAT(one.items, testing::ElementsAre(0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 19));
  EXPECT_EQ(one.report.loaded, 16u);
  ASSERT_EQ(one.report.broken.size(), 4u);
  EXPECT_EQ(one.report.broken[1].path, "/nowhere/8.jpg");
  EXPECT_THAT(one.report.broken[1].message, testing::HasSubstr("/nowhere/8.jpg"));

  Preprocessor preprocessor(options.preprocessing);
  std::vector<float> expected(preprocessor.floats());
  preprocessor.run(read_image(fixture("tall.png")), expected.data());
  EXPECT_EQ(std::memcmp(one.data.data() + 3 * expected.size(), expected.data(), expected.size() * 4), 0);  // item 4

  options.threads = 4;
  const Seen four = load_all(options);
  EXPECT_EQ(four.items, one.items);
  EXPECT_EQ(std::memcmp(four.data.data(), one.data.data(), one.data.size() * sizeof(float)), 0);
}

TEST(Loader, FillsTheMemoryItIsGiven) {
  LoaderOptions options{.preprocessing = small_preset(), .decode = {}, .batch = 4, .threads = 2, .buffers = {}};
  std::vector<float> a(4 * 768), b(4 * 768);
  options.buffers = {a.data(), b.data()};
  int turn = 0;
  load_batches(twenty_items(), options, [&](const ImageBatch& batch) {
    EXPECT_EQ(batch.data, options.buffers[turn++ % 2]);
    return true;
  });
  EXPECT_EQ(turn, 5);
}

TEST(Loader, StopsWhenToldAndPassesExceptionsOn) {
  const LoaderOptions options{.preprocessing = small_preset(), .decode = {}, .batch = 2, .threads = 3, .buffers = {}};
  int calls = 0;
  load_batches(twenty_items(), options, [&](const ImageBatch&) { return ++calls < 2; });
  EXPECT_EQ(calls, 2);
  EXPECT_THROW(load_batches(twenty_items(), options,
                            [](const ImageBatch&) -> bool { throw Error(Stage::kRun, "engine", "out of memory"); }),
               Error);
  EXPECT_THROW(
      load_batches(twenty_items(), {.preprocessing = {}, .decode = {}, .batch = 0, .threads = 0, .buffers = {}},
                   [](const ImageBatch&) { return true; }),
      Error);
}

TEST(Loader, NothingToLoadIsNothingLoaded) {
  EXPECT_EQ(load_batches({}, {}, [](const ImageBatch&) { return true; }).loaded, 0u);
}

TEST(ImageSets, ReadALabelFile) {
  const TemporaryFolder folder;
  const std::string csv = folder.write("labels.csv", "file,label\na.jpg,3\r\n\nb c.png , 12\nd.jpg 0\n");
  const ImageSet set = find_images(folder.path(), csv);
  ASSERT_EQ(set.items.size(), 3u);
  EXPECT_TRUE(set.labelled);
  EXPECT_EQ(set.items[0].path, folder / "a.jpg");
  EXPECT_EQ(set.items[1].path, folder / "b c.png");
  EXPECT_EQ(set.items[1].label, 12);
  EXPECT_EQ(set.items[2].label, 0);
}

TEST(ImageSets, NameTheLineThatIsWrong) {
  const TemporaryFolder folder;
  for (const char* text :
       {"a.jpg,1\nb.jpg,cat\n", "a.jpg,1\nb.jpg,-2\n", "a.jpg,1\nb.jpg\n", "a.jpg,1\nb.jpg,99999999999\n"}) {
    try {
      find_images(folder.path(), folder.write("l.csv", text));
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.subject(), testing::EndsWith("l.csv:2"));
    }
  }
}

TEST(ImageSets, TakeSortedFoldersAsClasses) {
  const TemporaryFolder folder;
  for (const char* name : {"n02/x.JPEG", "n01/b.jpg", "n01/a.png", "n03/readme.txt"}) folder.write(name, "x");
  const ImageSet set = find_images(folder.path());
  EXPECT_TRUE(set.labelled);
  ASSERT_EQ(set.items.size(), 3u);
  EXPECT_EQ(set.items[0].path, folder / "n01/a.png");
  EXPECT_EQ(set.items[2].label, 1);
}

TEST(ImageSets, TakeAFlatFolderWithoutLabels) {
  const TemporaryFolder folder;
  for (const char* name : {"b.jpg", "a.webp", "notes.txt", "sub/c.jpeg"}) folder.write(name, "x");
  const ImageSet set = find_images(folder.path());
  EXPECT_FALSE(set.labelled);
  ASSERT_EQ(set.items.size(), 3u);
  EXPECT_EQ(set.items[0].label, -1);
}

TEST(ImageSets, RefuseNothing) {
  const TemporaryFolder folder;
  EXPECT_THROW(find_images(folder.path()), Error);
  EXPECT_THROW(find_images(folder / "absent"), Error);
  EXPECT_THROW(find_images(folder.path(), folder / "absent.csv"), Error);
  EXPECT_THROW(find_images(folder.path(), folder.write("empty.csv", "file,label\n")), Error);
}

TEST(ClassNames, ComeFromAFile) {
  const TemporaryFolder folder;
  EXPECT_THAT(read_class_names(folder.write("names.txt", "cat\r\nwild dog\n\n")),
              testing::ElementsAre("cat", "wild dog"));
  EXPECT_THROW(read_class_names(folder.write("none.txt", "\n\n")), Error);
}

}  // namespace
}  // namespace ferry
