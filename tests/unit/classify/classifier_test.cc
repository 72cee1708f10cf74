#include "ferry/classifier.h"

#include <gmock/gmock.h>

#include <fstream>
#include <thread>

#include "ferry/error.h"
#include "unit/engine/backend_fixture.h"
#include "unit/image/fixtures.h"

namespace ferry {
namespace {

Preprocessing small_preset() {
  Preprocessing preset;
  preset.name = "small";
  preset.resize = 36;
  preset.crop = 32;
  return preset;
}

class ClassifierTest : public BackendTest {
 protected:
  ClassifierTest() { put_fake_as("fake"); }

  Engine engine() const { return Backend::load("fake").open_onnx(tiny_onnx(), {}); }
  Classifier classifier(std::int64_t batch = 0, int threads = 0) const {
    ClassifierOptions options;
    options.preprocessing = small_preset();
    options.class_names = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    options.top_k = 3;
    options.batch = batch;
    options.threads = threads;
    return Classifier(engine(), options);
  }
  static std::vector<Classified> all(const Classifier& c, PictureSource& source, ClassifyReport* report = nullptr) {
    std::vector<Classified> results;
    const ClassifyReport made = c.classify_all(source, [&](Classified&& r) {
      results.push_back(std::move(r));
      return true;
    });
    if (report != nullptr) *report = made;
    return results;
  }
};

std::vector<ImageItem> mixed_items() {
  std::vector<ImageItem> items;
  const char* names[] = {"baseline.jpg", "tall.png",        "missing.jpg", "grey.jpg",
                         "cmyk.jpg",     "progressive.jpg", "alpha.png"};
  for (int i = 0; i < 21; ++i) items.push_back({fixture(names[i % 7]), i});
  return items;
}

bool same(const std::vector<Label>& a, const std::vector<Label>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Label& x, const Label& y) {
    return x.index == y.index && x.name == y.name && x.score == y.score;
  });
}

TEST_F(ClassifierTest, GivesWhatTheEngineSaysOfThePreparedPicture) {
  const std::string path = fixture("baseline.jpg");
  const std::vector<Label> labels = classifier().classify(path);
  Preprocessor preprocessor(small_preset());
  Tensor input(DType::kFloat32, {1, 3, 32, 32});
  preprocessor.run(read_image(path), input.floats().data());
  const Tensor logits = engine().new_session().run(input.view());
  const std::vector<ClassScore> expected = top_k(logits.floats(), 3, true);
  ASSERT_EQ(labels.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(labels[i].index, expected[i].index);
    EXPECT_EQ(labels[i].score, expected[i].score);
    EXPECT_EQ(labels[i].name, std::string(1, static_cast<char>('a' + expected[i].index)));
  }
}

TEST_F(ClassifierTest, PathBytesAndPixelsAreTheSamePicture) {
  const Classifier c = classifier();
  const std::vector<Label> labels = c.classify(fixture("tall.png"));
  EXPECT_TRUE(same(c.classify_bytes(fixture_bytes("tall.png")), labels));
  EXPECT_TRUE(same(c.classify_pixels(read_image(fixture("tall.png"))), labels));
}

TEST_F(ClassifierTest, AStreamGivesTheSameInOrderWhateverBatchAndThreads) {
  const Classifier one = classifier();
  for (const auto& [batch, threads] : {std::pair{1, 1}, {3, 4}, {4, 2}, {50, 3}, {0, 0}}) {
    ClassifyReport report;
    const auto source = pictures_of(mixed_items());
    const std::vector<Classified> results = all(classifier(batch, threads), *source, &report);
    ASSERT_EQ(results.size(), 21u);
    EXPECT_EQ(report.classified, 18u);
    EXPECT_EQ(report.broken, 3u);
    EXPECT_FALSE(report.interrupted);
    for (std::size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(results[i].number, i);
      EXPECT_EQ(results[i].label, static_cast<int>(i));
      EXPECT_EQ(results[i].name, mixed_items()[i].path);
      if (i % 7 == 2)
        EXPECT_THAT(results[i].error, testing::HasSubstr("No such file"));
      else
        EXPECT_TRUE(same(results[i].labels, one.classify(results[i].name))) << results[i].name << results[i].error;
    }
  }
}

TEST_F(ClassifierTest, PicturesPreparedByTheEngineGetTheSameLabels) {
  std::vector<ImageItem> items = mixed_items();
  items.push_back({fixture("small.png"), -1});
  items.push_back({fixture("orientation6.jpg"), -1});
  const auto here = pictures_of(items), there = pictures_of(items);
  const std::vector<Classified> expected = all(classifier(4, 2), *here);
  environment.set("FERRY_FAKE_MODE", "images");
  const Classifier c = classifier(4, 2);
  ASSERT_TRUE(c.engine().info().images);
  const std::vector<Classified> results = all(c, *there);
  ASSERT_EQ(results.size(), expected.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].error, expected[i].error);
    EXPECT_TRUE(same(results[i].labels, expected[i].labels)) << results[i].name;
    if (!expected[i].error.empty()) continue;
    EXPECT_TRUE(same(c.classify(results[i].name), expected[i].labels));
  }
  for (const char* entry : {"image_staging", "submit_images"}) {
    environment.set("FERRY_FAKE_FAIL", entry);
    EXPECT_THAT(error_of([&] { classifier().classify(fixture("grey.jpg")); }).cause(), testing::HasSubstr(entry));
  }
}

TEST_F(ClassifierTest, StopHandsOnWhatIsInFlightAndSaysSo) {
  const auto source = pictures_of(mixed_items());
  std::vector<std::size_t> numbers;
  const ClassifyReport report = classifier(2, 1).classify_all(
      *source,
      [&](Classified&& r) {
        numbers.push_back(r.number);
        return true;
      },
      [&] { return numbers.size() >= 4; });
  EXPECT_TRUE(report.interrupted);
  EXPECT_GE(numbers.size(), 4u);
  EXPECT_LT(numbers.size(), 21u);
  EXPECT_EQ(numbers.size() % 2, 0u);  // whole batches
  for (std::size_t i = 0; i < numbers.size(); ++i) EXPECT_EQ(numbers[i], i);
}

TEST_F(ClassifierTest, TheConsumerMayEndIt) {
  const auto source = pictures_of(mixed_items());
  int calls = 0;
  const ClassifyReport report = classifier(2, 3).classify_all(*source, [&](Classified&&) { return ++calls < 5; });
  EXPECT_EQ(calls, 5);
  EXPECT_FALSE(report.interrupted);
}

TEST_F(ClassifierTest, AFailingEngineEndsItWithItsOwnMessage) {
  for (const char* entry : {"open_session", "staging", "submit", "wait"}) {
    environment.set("FERRY_FAKE_FAIL", "");
    const Classifier c = classifier(2, 2);
    environment.set("FERRY_FAKE_FAIL", entry);
    const auto source = pictures_of(mixed_items());
    EXPECT_THAT(error_of([&] { all(c, *source); }).cause(), testing::HasSubstr(entry));
    EXPECT_THAT(error_of([&] { c.classify(fixture("baseline.jpg")); }).cause(), testing::HasSubstr(entry));
  }
}

TEST_F(ClassifierTest, NanScoresAreNoLabels) {
  environment.set("FERRY_FAKE_MODE", "nan");
  const auto source = pictures_of({{fixture("baseline.jpg"), -1}});
  const std::vector<Classified> results = all(classifier(), *source);
  ASSERT_EQ(results.size(), 1u);
  EXPECT_TRUE(results[0].labels.empty());
  EXPECT_THAT(results[0].error, testing::HasSubstr("NaN"));
  EXPECT_THAT(error_of([&] { classifier().classify(fixture("baseline.jpg")); }).cause(), testing::HasSubstr("NaN"));
}

TEST_F(ClassifierTest, AnotherCropIsRefusedWithTheWayOut) {
  const Error error = error_of([&] { Classifier{engine()}; });
  EXPECT_THAT(error.cause(), testing::HasSubstr("takes 32x32"));
  EXPECT_THAT(error.hint(), testing::HasSubstr("--crop 32"));
}

TEST_F(ClassifierTest, NamesMustFitTheNetwork) {
  ClassifierOptions options;
  options.preprocessing = small_preset();
  EXPECT_EQ(Classifier(engine(), options).classify(fixture("grey.jpg"))[0].name.substr(0, 6), "class ");
  options.class_names = {"cat", "dog"};
  EXPECT_THAT(error_of([&] { Classifier(engine(), options); }).cause(), testing::HasSubstr("10 classes"));
}

TEST_F(ClassifierTest, ManyThreadsMayAskAtOnce) {
  const Classifier c = classifier();
  const std::vector<Label> expected = c.classify(fixture("baseline.jpg"));
  std::vector<std::jthread> threads;
  for (int t = 0; t < 12; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) EXPECT_TRUE(same(c.classify(fixture("baseline.jpg")), expected));
    });
}

TEST_F(ClassifierTest, PicturesInMemoryKeepTheirOrder) {
  const std::vector<std::string> encoded{fixture_bytes("baseline.jpg"), "no picture", fixture_bytes("tall.png")};
  const auto source = pictures_in_memory(encoded);
  const std::vector<Classified> results = all(classifier(2, 2), *source);
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[1].name, "picture 1");
  EXPECT_THAT(results[1].error, testing::HasSubstr("not a JPEG"));
  EXPECT_TRUE(same(results[2].labels, classifier().classify(fixture("tall.png"))));
}

}  // namespace
}  // namespace ferry
