// Pictures prepared as the kernels do it, thread by thread on the host, against src/image; and a session's requests of
// them over the fake driver.
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <optional>
#include <random>

#include "cuda_pictures/preparer.h"
#include "cuda_support/context.h"
#include "fake_network.h"
#include "ferry/image.h"
#include "ferry/tensor.h"
#include "image/geometry.h"
#include "image/resample.h"
#include "nvinfer/session.h"

namespace ferry {
namespace {

using pictures::Input;
using ::testing::HasSubstr;

ImageU8 noise(int width, int height, unsigned seed) {
  ImageU8 image{width, height, std::vector<std::uint8_t>(std::size_t{3} * width * height)};
  std::mt19937 random(seed);
  for (std::uint8_t& v : image.pixels) v = static_cast<std::uint8_t>(random());
  return image;
}

// Batches of pictures in staging memory, each with the part that its window needs.
struct Staged {
  Preprocessing preset;
  std::vector<ferry_image> images;
  std::vector<std::uint8_t> memory;

  void add(const ImageU8& image) {
    const CropWindow w = crop_window(image.width, image.height, preset);
    const SourceSpan x = source_span(image.width, w.x.resized, w.x.first + w.x.begin, w.x.end - w.x.begin);
    const SourceSpan y = source_span(image.height, w.y.resized, w.y.first + w.y.begin, w.y.end - w.y.begin);
    const int stride = (3 * (x.end - x.first) + 3) / 4 * 4;
    ferry_image p{memory.size(),   stride,          image.width, image.height, x.first,   y.first,
                  x.end - x.first, y.end - y.first, w.x.resized, w.y.resized,  w.x.first, w.y.first};
    for (int row = y.first; row < y.end; ++row) {
      memory.insert(memory.end(), image.row(row) + 3 * x.first, image.row(row) + 3 * x.end);
      memory.resize(p.offset + static_cast<std::size_t>(stride) * static_cast<std::size_t>(row + 1 - y.first), 0xEE);
    }
    memory.resize(memory.size() + memory.size() / 7 % 5, 0xEE);  // the next begins anywhere
    images.push_back(p);
  }
  ferry_images_args args() const {
    ferry_images_args args{};
    args.struct_size = sizeof args;
    args.batch = static_cast<std::int64_t>(images.size());
    args.images = images.data();
    args.used = memory.size();
    std::copy(preset.mean.begin(), preset.mean.end(), args.mean);
    std::copy(preset.std.begin(), preset.std.end(), args.std);
    return args;
  }
};

// `table`: halves are looked up even where a line gives them.
std::vector<std::byte> run(Staged staged, const Input& input, std::size_t value_bytes, bool table = false) {
  const ferry_images_args args = staged.args();
  EXPECT_EQ(pictures::refusal(args, input, args.used), "");
  staged.memory.resize(staged.memory.size() + pictures::kSlack);
  const pictures::Values values = pictures::values_for(input, args.mean, args.std);
  pictures::Plan plan = pictures::plan_for(args, input, values.line && !table);
  std::vector<std::uint32_t> axes(pictures::axes_bytes(plan.job) / 4);
  const std::size_t count = staged.images.size() * 3 * static_cast<std::size_t>(input.crop * input.crop);
  std::vector<std::byte> out(count * value_bytes);
  plan.job.pixels = staged.memory.data();
  plan.job.images = staged.images.data();
  plan.job.axes = axes.data();
  plan.job.values = values.words.data();
  plan.job.out = out.data();
  pictures::run_on_host(plan);
  return out;
}

TEST(CudaPictures, GiveTheBitsOfTheCpu) {
  struct Case {
    int resize, crop, width, height;
  };
  for (const Case& c : {Case{256, 224, 500, 375},
                        {256, 224, 375, 500},
                        {232, 224, 640, 480},
                        {256, 224, 256, 256},
                        {256, 224, 100, 80},
                        {256, 224, 1, 1},
                        {64, 48, 400, 380},
                        {64, 48, 512, 300},
                        {40, 37, 111, 93},
                        {20, 32, 50, 70},
                        {33, 33, 33, 33},
                        {48, 48, 200, 384}}) {
    Staged staged;
    staged.preset.resize = c.resize;
    staged.preset.crop = c.crop;
    const ImageU8 image = noise(c.width, c.height, static_cast<unsigned>(c.width));
    if (height_first(c.width, c.height, crop_window(c.width, c.height, staged.preset).x.resized,
                     crop_window(c.width, c.height, staged.preset).y.resized))
      continue;  // these are resized on the CPU
    staged.add(image);
    Preprocessor preprocessor(staged.preset);
    std::vector<float> expected(preprocessor.floats());
    preprocessor.run(image, expected.data());
    const std::vector<std::byte> planes = run(staged, {pictures::kFloat32, false, c.crop}, 4);
    EXPECT_EQ(std::memcmp(planes.data(), expected.data(), planes.size()), 0) << c.width << "x" << c.height;
    const std::vector<std::byte> pixels = run(staged, {pictures::kUInt8, true, c.crop}, 1);
    EXPECT_EQ(std::memcmp(pixels.data(), preprocessor.pixels(image).data(), pixels.size()), 0);
  }
}

TEST(CudaPictures, MixPicturesOfAllSizesInOneBatch) {
  Staged staged;
  staged.preset.resize = 36;
  staged.preset.crop = 32;
  std::vector<float> expected;
  Preprocessor preprocessor(staged.preset);
  for (unsigned i = 0; i < 12; ++i) {
    const ImageU8 image = noise(static_cast<int>(30 + 17 * i), static_cast<int>(40 + 13 * i), i);
    staged.add(image);
    expected.resize(expected.size() + preprocessor.floats());
    preprocessor.run(image, expected.data() + i * preprocessor.floats());
  }
  const std::vector<std::byte> planes = run(staged, {pictures::kFloat32, false, 32}, 4);
  EXPECT_EQ(std::memcmp(planes.data(), expected.data(), planes.size()), 0);
  for (const bool table : {false, true}) {
    const std::vector<std::byte> half = run(staged, {pictures::kFloat16, false, 32}, 2, table);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      std::uint16_t bits;
      std::memcpy(&bits, half.data() + 2 * i, 2);
      ASSERT_EQ(bits, float_to_half(expected[i])) << i;
    }
  }
}

TEST(CudaPictures, GiveTheSameBitsForAnyShape) {
  std::mt19937 random(5);
  const auto number = [&](int least, int most) { return std::uniform_int_distribution(least, most)(random); };
  for (int turn = 0; turn < 150; ++turn) {
    Staged staged;
    staged.preset.resize = number(12, 40);
    staged.preset.crop = number(1, 44);
    const Input input{turn % 2 == 0 ? pictures::kUInt8 : pictures::kFloat32, turn % 3 == 0, staged.preset.crop};
    Preprocessor preprocessor(staged.preset);
    std::vector<std::byte> expected;
    for (int i = number(1, 10); i > 0; --i) {
      const int least = staged.preset.resize / 4, most = 8 * staged.preset.resize - 8;
      const ImageU8 image = noise(number(least, most), number(least, most), static_cast<unsigned>(turn));
      const CropWindow w = crop_window(image.width, image.height, staged.preset);
      if (height_first(image.width, image.height, w.x.resized, w.y.resized)) continue;
      staged.add(image);
      const auto pixels = preprocessor.pixels(image);
      const int area = staged.preset.crop * staged.preset.crop;
      for (int v = 0; v < 3 * area; ++v) {  // as the network wants it: interleaved, or planes
        const int from = input.channels_last ? v : v % area * 3 + v / area;
        const std::uint8_t pixel = pixels[static_cast<std::size_t>(from)];
        const int c = from % 3;
        const float value = (static_cast<float>(pixel) / 255.0f - staged.preset.mean[static_cast<std::size_t>(c)]) /
                            staged.preset.std[static_cast<std::size_t>(c)];
        const auto* first = input.kind == pictures::kUInt8 ? reinterpret_cast<const std::byte*>(&pixel)
                                                           : reinterpret_cast<const std::byte*>(&value);
        expected.insert(expected.end(), first, first + (input.kind == pictures::kUInt8 ? 1 : 4));
      }
    }
    if (staged.images.empty()) continue;
    EXPECT_TRUE(run(staged, input, input.kind == pictures::kUInt8 ? 1 : 4) == expected) << "turn " << turn;
  }
}

TEST(CudaPictures, ComputeHalvesOnlyWhereThatGivesTheTable) {
  const Input half{pictures::kFloat16, false, 224};
  const Preprocessing usual;
  EXPECT_TRUE(pictures::values_for(half, usual.mean.data(), usual.std.data()).line);
  EXPECT_FALSE(pictures::values_for({pictures::kFloat32, false, 224}, usual.mean.data(), usual.std.data()).line);
  int lines = 0;
  std::mt19937 random(3);
  std::uniform_real_distribution<float> mean(0, 1), deviation(0.05f, 1);
  for (int turn = 0; turn < 100; ++turn) {
    const float m[3] = {mean(random), mean(random), mean(random)},
                d[3] = {deviation(random), deviation(random), deviation(random)};
    const pictures::Values values = pictures::values_for(half, m, d);
    if (!values.line) continue;
    ++lines;
    for (unsigned i = 0; i < 768; ++i) {
      const float scale = pictures::as_float(values.words[768 + i / 256]),
                  offset = pictures::as_float(values.words[771 + i / 256]);
      const float value = (static_cast<float>(i % 256) / 255.0f - m[i / 256]) / d[i / 256];
      ASSERT_EQ(float_to_half(std::fma(static_cast<float>(i % 256), scale, offset)), float_to_half(value)) << turn;
    }
  }
  EXPECT_GT(lines, 50);
}

TEST(CudaPictures, HalfPrecisionRoundsAsEverywhereElse) {
  for (const float v : {0.0f, -0.0f, 1.0f, -2.1179f, 65504.0f, 65519.9f, 65520.0f, 1e9f, 6e-8f, 2.9802322e-8f, 3e-8f,
                        6.1e-5f, 1.0004883f, 1.0014648f, -INFINITY})
    EXPECT_EQ(pictures::half_of(v), float_to_half(v)) << v;
  EXPECT_GT(pictures::half_of(NAN) & 0x7FFF, 0x7C00);
}

TEST(CudaPictures, RefuseWhatTheyWouldReadOutside) {
  Staged good;
  good.add(noise(500, 375, 1));
  const Input input{pictures::kFloat32, false, 224};
  const auto refused = [&](auto change) {
    Staged bad = good;
    change(bad.images[0]);
    return pictures::refusal(bad.args(), input, bad.memory.size());
  };
  EXPECT_THAT(refused([](ferry_image& p) { p.part_width -= 1; }), HasSubstr("lacks pixels"));
  EXPECT_THAT(refused([](ferry_image& p) { p.part_top += 1, p.part_height -= 1; }), HasSubstr("lacks pixels"));
  EXPECT_THAT(refused([](ferry_image& p) { p.offset = 5; }), HasSubstr("outside the memory"));
  EXPECT_THAT(refused([](ferry_image& p) { p.offset = ~std::uint64_t{0}; }), HasSubstr("outside the memory"));
  EXPECT_THAT(refused([](ferry_image& p) { p.stride = 4; }), HasSubstr("make no sense"));
  EXPECT_THAT(refused([](ferry_image& p) { p.stride += 1; }), HasSubstr("whole words"));
  EXPECT_THAT(refused([](ferry_image& p) { p.resized_height = 0; }), HasSubstr("make no sense"));
  EXPECT_THAT(refused([](ferry_image& p) { p.width = 500000; }), HasSubstr("shrinks more than"));
  EXPECT_THAT(refused([](ferry_image& p) { p.part_left = 2147483647; }), HasSubstr("make no sense"));
  EXPECT_THAT(pictures::refusal(good.args(), input, 10), HasSubstr("more bytes"));
}

TEST(CudaPictures, KnowWhichInputsTheyServe) {
  EXPECT_EQ(pictures::input_for(10, {-1, 224, 224, 3})->kind, pictures::kFloat16);
  EXPECT_TRUE(pictures::input_for(10, {-1, 224, 224, 3})->channels_last);
  EXPECT_FALSE(pictures::input_for(1, {-1, 3, 224, 224})->channels_last);
  EXPECT_FALSE(pictures::input_for(7, {-1, 3, 224, 224}));
  EXPECT_FALSE(pictures::input_for(1, {-1, 3, 224, 160}));
  EXPECT_FALSE(pictures::input_for(1, {-1, 4, 224, 224}));
  EXPECT_FALSE(pictures::input_for(1, {-1, 3, 4097, 4097}));
}

// A network whose output is its input, for pictures of 16x16.
class CopyNetwork final : public nvinfer::Network {
 public:
  const std::vector<nvinfer::Port>& inputs() const override { return inputs_; }
  const std::vector<nvinfer::Port>& outputs() const override { return outputs_; }
  const std::vector<nvinfer::Profile>& profiles() const override { return profiles_; }
  std::size_t arena_bytes() const override { return 16; }
  std::unique_ptr<nvinfer::Executor> make_executor(void*, std::size_t) override { return std::make_unique<Copy>(); }

 private:
  struct Copy final : nvinfer::Executor {
    void bind(int, std::int64_t batch, const std::vector<void*>& in, const std::vector<void*>& out,
              CUstream_st*) override {
      from = in[0], to = out[0], bytes = static_cast<std::size_t>(batch) * 3 * 16 * 16 * 4;
    }
    void enqueue(CUstream_st* stream) override {
      testing::FakeDriver::get().enqueue(
          stream,
          [](void* self) {
            std::memcpy(static_cast<Copy*>(self)->to, static_cast<Copy*>(self)->from, static_cast<Copy*>(self)->bytes);
          },
          this);
    }
    bool capturable(CUstream_st*) const override { return true; }
    void* from = nullptr;
    void* to = nullptr;
    std::size_t bytes = 0;
  };
  std::vector<nvinfer::Port> inputs_{{"input", 1, {-1, 3, 16, 16}, 3072}},
      outputs_{{"output", 1, {-1, 3, 16, 16}, 3072}};
  std::vector<nvinfer::Profile> profiles_{{1, 2, 8}};
};

class PictureSessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fake.reset();
    if (!pictures::kernels().compiled()) GTEST_SKIP() << cuda::kNoKernels;
    const auto work = [](void** arguments, void*) {
      pictures::Plan plan;
      plan.job = *static_cast<pictures::Job*>(arguments[0]);
      pictures::run_on_host(plan);
    };
    for (const char* taps : {"3", "4", "8", "16"})
      fake.kernel((std::string("ferry_prepare_") + taps + "_table32").c_str(), work, nullptr);
    context_.emplace(0);
    current_.emplace(*context_);
    session_ = std::make_unique<nvinfer::Session>(network_, nvinfer::OpenOptions{}, [](int, const std::string&) {});
    staged_.preset.resize = 20;
    staged_.preset.crop = 16;
  }
  void TearDown() override {
    session_.reset();
    current_.reset();
    context_.reset();
  }

  std::vector<float> run(const std::vector<ImageU8>& images) {
    staged_.images.clear();
    staged_.memory.clear();
    for (const ImageU8& image : images) staged_.add(image);
    std::memcpy(session_->image_staging(1 << 20), staged_.memory.data(), staged_.memory.size());
    std::vector<float> out(images.size() * 768);
    void* outputs[] = {out.data()};
    ferry_images_args args = staged_.args();
    args.outputs = outputs;
    session_->submit_images(args);
    ferry_times times{};
    session_->wait(&times);
    EXPECT_GE(times.h2d_ms, 0);
    return out;
  }
  std::vector<float> expected(const std::vector<ImageU8>& images) const {
    Preprocessor preprocessor(staged_.preset);
    std::vector<float> out(images.size() * 768);
    for (std::size_t i = 0; i < images.size(); ++i) preprocessor.run(images[i], out.data() + 768 * i);
    return out;
  }

  const testing::FakeDriver& fake = testing::FakeDriver::get();
  CopyNetwork network_;
  std::optional<cuda::Context> context_;
  std::optional<cuda::Current> current_;
  std::unique_ptr<nvinfer::Session> session_;
  Staged staged_;
};

TEST_F(PictureSessionTest, PreparesRunsAndFetchesAlsoThroughAGraph) {
  for (unsigned turn = 0; turn < 4; ++turn) {
    const std::vector<ImageU8> images{noise(50, 40, turn), noise(20 + static_cast<int>(turn), 31, turn)};
    EXPECT_EQ(run(images), expected(images)) << "turn " << turn;
  }
  const std::vector<ImageU8> one{noise(60, 80, 9)};
  EXPECT_EQ(run(one), expected(one));
  staged_.preset.mean = {0.1f, 0.2f, 0.3f};
  EXPECT_EQ(run(one), expected(one));
}

TEST_F(PictureSessionTest, RefusesWhatCannotBe) {
  ferry_images_args args = staged_.args();
  EXPECT_THROW(session_->submit_images(args), nvinfer::Failure);  // no staging yet
  staged_.add(noise(50, 40, 1));
  session_->image_staging(100);
  args = staged_.args();
  void* outputs[] = {&args};
  args.outputs = outputs;
  EXPECT_THROW(session_->submit_images(args), nvinfer::Failure);  // more bytes than there are
}

}  // namespace
}  // namespace ferry
