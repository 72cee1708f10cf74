// Engines that are evaluated through their own staging memory, against the same engines as functions of floats.
#include <gmock/gmock.h>

#include <algorithm>

#include "ferry/error.h"
#include "ferry/evaluate.h"
#include "unit/engine/backend_fixture.h"
#include "unit/image/fixtures.h"

namespace ferry {
namespace {

using testing::HasSubstr;

class EvaluateEngines : public BackendTest {
 protected:
  EvaluateEngines() {
    put_fake_as("fake");
    options.loader.preprocessing.resize = 36;
    options.loader.preprocessing.crop = 32;
    options.loader.batch = 4;
    options.loader.threads = 3;
    images.layout = "label file";
    images.labelled = true;
    const char* names[] = {"baseline.jpg", "missing.jpg", "tall.png", "grey.jpg", "missing.jpg", "cmyk.jpg"};
    for (int i = 0; i < 27; ++i) images.items.push_back({fixture(names[i % 6]), i % 10});
  }
  static Engine engine() { return Backend::load("fake").open_onnx(tiny_onnx(), {}); }
  static EvaluationEntry as_function(const std::string& name) {
    return {name, [run = entry_of(name, engine()).run](const TensorView& batch) { return run(batch); }};
  }

  EvaluateOptions options;
  ImageSet images;
};

void expect_same_as_functions(const Evaluation& result) {
  EXPECT_EQ(result.images, 18);
  EXPECT_EQ(result.broken.size(), 9u);
  for (const EvaluationRow& row : result.rows) {
    EXPECT_EQ(row.failure, "");
    EXPECT_EQ(row.images, 18);
    EXPECT_EQ(row.top1->hits, result.rows[0].top1->hits) << row.name;
    EXPECT_EQ(row.top5->hits, result.rows[0].top5->hits) << row.name;
    EXPECT_GE(row.seconds, 0);
  }
  for (std::size_t i = 1; i < result.rows.size(); ++i) {
    EXPECT_EQ(result.rows[i].agreement->hits, 18);
    EXPECT_EQ(*result.rows[i].relative_error, 0);
    EXPECT_EQ(*result.rows[i].kl, 0);
  }
}

TEST_F(EvaluateEngines, GiveWhatTheSameEngineGivesAsAFunction) {
  options.reference = 0;
  expect_same_as_functions(evaluate({as_function("function"), entry_of("engine", engine())}, images, options));
  options.reference = 1;
  options.loader.batch = 27;
  const Evaluation result = evaluate({entry_of("a", engine()), entry_of("b", engine())}, images, options);
  EXPECT_EQ(*result.rows[0].relative_error, 0);
  EXPECT_FALSE(result.rows[1].agreement);
}

TEST_F(EvaluateEngines, TakePixelsAndKeepSeveralBatchesInFlightOnAGpu) {
  options.reference = 0;
  const EvaluationEntry function = as_function("function");
  environment.set("FERRY_FAKE_GPU", "Fake H100,9.0,580.1");
  environment.set("FERRY_FAKE_MODE", "images");
  const Engine pixels = engine();
  ASSERT_TRUE(pixels.info().images);
  ASSERT_EQ(pixels.info().device.kind, "gpu");
  expect_same_as_functions(
      evaluate({function, entry_of("pixels", pixels), entry_of("again", pixels)}, images, options));
  environment.set("FERRY_FAKE_FAIL", "submit_images");  // the other way goes on
  const Evaluation result = evaluate({function, entry_of("pixels", pixels)}, images, options);
  EXPECT_EQ(result.rows[0].failure, "");
  EXPECT_THAT(result.rows[1].failure, HasSubstr("submit_images"));
}

TEST_F(EvaluateEngines, AreLeftOutWhenTheyFail) {
  options.reference = 0;
  for (const char* gpu : {"", "Fake H100,9.0,580.1"}) {
    environment.set("FERRY_FAKE_GPU", gpu);
    const EvaluationEntry good = as_function("good"), bad = entry_of("bad", engine());
    environment.set("FERRY_FAKE_MODE", "nan");
    Evaluation result = evaluate({bad}, images, EvaluateOptions{options.loader, std::nullopt, {}});
    EXPECT_THAT(result.rows[0].failure, HasSubstr("NaN"));
    environment.set("FERRY_FAKE_MODE", "");
    for (const char* entry : {"open_session", "staging", "submit", "wait"}) {
      const EvaluationEntry constant{"constant", [](const TensorView& batch) {
                                       Tensor out(DType::kFloat32, {batch.shape[0], 10});
                                       std::ranges::fill(out.floats(), 1.0f);
                                       return out;
                                     }};
      environment.set("FERRY_FAKE_FAIL", entry);
      result = evaluate({constant, bad}, images, options);
      EXPECT_EQ(result.rows[0].images, 18);
      EXPECT_THAT(result.rows[1].failure, HasSubstr(entry));
      try {
        evaluate({bad, constant}, images, options);
        FAIL() << "went on without its reference";
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("the reference failed"));
      }
      environment.set("FERRY_FAKE_FAIL", "");
    }
  }
}

TEST_F(EvaluateEngines, RefuseWhatTheyCannotUse) {
  options.loader.preprocessing.crop = 30;
  try {
    evaluate({entry_of("x", engine())}, images, options);
    FAIL() << "took another size";
  } catch (const Error& error) {
    EXPECT_EQ(error.stage(), Stage::kUsage);
    EXPECT_THAT(error.what(), HasSubstr("32x32"));
  }
  options.loader.preprocessing.crop = 32;
  options.loader.batch = 0;
  EXPECT_THROW(evaluate({entry_of("x", engine())}, images, options), Error);
}

}  // namespace
}  // namespace ferry
