// The kernels that prepare pictures, on the GPU: every bit against src/image, and how much memory they move in a second
// next to a plain copy.
#include <dlfcn.h>
#include <gmock/gmock.h>

#include <cstdio>
#include <cstring>
#include <optional>
#include <random>

#include "cuda_pictures/preparer.h"
#include "cuda_support/context.h"
#include "ferry/image.h"
#include "ferry/tensor.h"
#include "image/geometry.h"
#include "image/resample.h"

namespace ferry {
namespace {

using pictures::Input;

ImageU8 noise(int width, int height, unsigned seed) {
  ImageU8 image{width, height, std::vector<std::uint8_t>(std::size_t{3} * width * height)};
  std::mt19937 random(seed);
  for (std::uint8_t& v : image.pixels) v = static_cast<std::uint8_t>(random());
  return image;
}

class GpuPictures : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!pictures::kernels().compiled()) GTEST_SKIP() << cuda::kNoKernels;
    try {
      context_.emplace(0);
    } catch (const std::exception& error) {
      GTEST_SKIP() << "no GPU: " << error.what();
    }
    current_.emplace(*context_);
    stream_ = std::make_unique<cuda::Stream>();
  }
  void TearDown() override {
    preparer_.reset();
    stream_.reset();
    current_.reset();
    context_.reset();
  }

  // Puts pictures into staging and describes them.
  ferry_images_args stage(const std::vector<ImageU8>& images, const Preprocessing& preset, const Input& input) {
    preparer_ = std::make_unique<pictures::Preparer>(input);
    std::vector<std::uint8_t> memory;
    placed_.clear();
    for (const ImageU8& image : images) {
      const CropWindow w = crop_window(image.width, image.height, preset);
      const NeededPart n = needed_part(image.width, image.height, w);
      const int stride = (3 * (n.right - n.left) + 3) / 4 * 4;
      placed_.push_back({memory.size(), stride, image.width, image.height, n.left, n.top, n.right - n.left,
                         n.bottom - n.top, w.x.resized, w.y.resized, w.x.first, w.y.first});
      for (int y = n.top; y < n.bottom; ++y) {
        memory.insert(memory.end(), image.row(y) + 3 * n.left, image.row(y) + 3 * n.right);
        memory.resize(memory.size() + static_cast<std::size_t>(stride - 3 * (n.right - n.left)));
      }
    }
    std::memcpy(preparer_->staging(memory.size()), memory.data(), memory.size());
    ferry_images_args args{};
    args.struct_size = sizeof args;
    args.batch = static_cast<std::int64_t>(images.size());
    args.images = placed_.data();
    args.used = memory.size();
    std::copy(preset.mean.begin(), preset.mean.end(), args.mean);
    std::copy(preset.std.begin(), preset.std.end(), args.std);
    EXPECT_EQ(pictures::refusal(args, input, args.used), "");
    return args;
  }

  std::vector<std::byte> run(const ferry_images_args& args, std::size_t bytes) {
    const cuda::DeviceBuffer out(bytes);
    const cuda::PinnedBuffer host(bytes);
    cuda::fill_bytes(out.data(), 0xFF, bytes, stream_->handle());
    preparer_->enqueue(args, out.data(), *stream_);
    cuda::copy_to_host(host.data(), out.data(), bytes, stream_->handle());
    stream_->synchronize();
    const auto* first = static_cast<const std::byte*>(host.data());
    return {first, first + bytes};
  }

  std::optional<cuda::Context> context_;
  std::optional<cuda::Current> current_;
  std::unique_ptr<cuda::Stream> stream_;
  std::unique_ptr<pictures::Preparer> preparer_;
  std::vector<ferry_image> placed_;
};

TEST_F(GpuPictures, GiveTheBitsOfTheCpu) {
  for (const auto& [resize, crop] : {std::pair{256, 224}, {232, 224}, {64, 48}, {40, 37}, {30, 40}}) {
    Preprocessing preset;
    preset.resize = resize;
    preset.crop = crop;
    std::vector<ImageU8> images;
    for (const auto& [w, h] : {std::pair{500, 375},
                               {375, 500},
                               {256, 256},
                               {224, 224},
                               {100, 80},
                               {1, 1},
                               {640, 480},
                               {333, 257},
                               {251, 480},
                               {1024, 700}})
      if (std::min(w, h) <= 8 * resize) images.push_back(noise(w, h, static_cast<unsigned>(w * h)));
    Preprocessor preprocessor(preset);
    const std::size_t floats = preprocessor.floats();
    std::vector<float> expected(images.size() * floats);
    std::vector<std::uint8_t> pixels;
    for (std::size_t i = 0; i < images.size(); ++i) {
      preprocessor.run(images[i], expected.data() + i * floats);
      const auto crop_pixels = preprocessor.pixels(images[i]);
      pixels.insert(pixels.end(), crop_pixels.begin(), crop_pixels.end());
    }
    const std::size_t values = expected.size();
    const Input planes{pictures::kFloat32, false, crop}, half{pictures::kFloat16, false, crop},
        bytes{pictures::kUInt8, true, crop};
    EXPECT_EQ(std::memcmp(run(stage(images, preset, planes), 4 * values).data(), expected.data(), 4 * values), 0)
        << resize;
    EXPECT_EQ(std::memcmp(run(stage(images, preset, bytes), values).data(), pixels.data(), values), 0) << resize;
    const std::vector<std::byte> halves = run(stage(images, preset, half), 2 * values);
    for (std::size_t i = 0; i < values; ++i) {
      std::uint16_t bits;
      std::memcpy(&bits, halves.data() + 2 * i, 2);
      ASSERT_EQ(bits, float_to_half(expected[i])) << resize << " " << i;
    }
    preset.mean[0] = 0.4321f, preset.std[0] = 0.0077f;  // halves that no line gives, perhaps: looked up
    std::vector<float> odd(floats);
    Preprocessor odd_preprocessor(preset);
    odd_preprocessor.run(images.front(), odd.data());
    const std::vector<std::byte> looked_up = run(stage({images.front()}, preset, half), 2 * floats);
    for (std::size_t i = 0; i < floats; ++i) {
      std::uint16_t bits;
      std::memcpy(&bits, looked_up.data() + 2 * i, 2);
      ASSERT_EQ(bits, float_to_half(odd[i])) << resize << " " << i;
    }
    preset.mean = Preprocessing{}.mean, preset.std = Preprocessing{}.std;
    for (std::size_t i = 0; i < images.size(); ++i) {  // one at a time: other tiles
      const std::vector<std::byte> one = run(stage({images[i]}, preset, planes), 4 * floats);
      EXPECT_EQ(std::memcmp(one.data(), expected.data() + i * floats, 4 * floats), 0) << i;
    }
  }
}

template <typename Work>
double median_ms(const cuda::Stream& stream, const Work& work) {
  std::vector<double> times;
  for (int i = 0; i < 60; ++i) {
    const cuda::Event begin, end;
    begin.record(stream);
    work();
    end.record(stream);
    stream.synchronize();
    if (i >= 10) times.push_back(cuda::Event::elapsed_ms(begin, end));
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

// Bytes read and written in a second by a copy inside the device. Not in the modules' table of functions: only here.
double copy_rate(const cuda::Stream& stream, std::size_t bytes) {
  using Copy = int (*)(unsigned long long, unsigned long long, std::size_t, CUstream_st*);
  const auto copy = reinterpret_cast<Copy>(::dlsym(::dlopen("libcuda.so.1", RTLD_NOW), "cuMemcpyDtoDAsync_v2"));
  const cuda::DeviceBuffer from(bytes), to(bytes);
  const auto address = [](const cuda::DeviceBuffer& b) { return reinterpret_cast<unsigned long long>(b.data()); };
  const double ms = median_ms(stream, [&] { copy(address(to), address(from), bytes, stream.handle()); });
  return 2.0 * static_cast<double>(bytes) / ms / 1e6;
}

// One line of JSON for each: the kernels alone, pixels and tables on the device, next to a copy of as many bytes.
TEST_F(GpuPictures, MoveMemoryNearlyAsFastAsACopy) {
  const auto time = [&](const char* name, const Input& input, int value_bytes, int batch,
                        const std::vector<int>& tiles) {
    const std::vector<ImageU8> images(static_cast<std::size_t>(batch), noise(500, 375, 7));
    const ferry_images_args args = stage(images, Preprocessing{}, input);
    const std::size_t out_bytes = static_cast<std::size_t>(batch * value_bytes) * 3 * 224 * 224;
    const cuda::DeviceBuffer out(out_bytes);
    preparer_->upload(args, *stream_);
    const double moved = static_cast<double>(args.used + out_bytes);
    const double copied = copy_rate(*stream_, static_cast<std::size_t>(moved) / 2);
    for (const int tile : tiles) {
      const double ms = median_ms(*stream_, [&] { preparer_->prepare(args, out.data(), *stream_, tile); });
      const double rate = moved / ms / 1e6;
      std::printf(
          "{\"kernel\":\"prepare\",\"output\":\"%s\",\"batch\":%d,\"tile\":%d,\"ms\":%.4f,\"bytes\":%.0f,"
          "\"gb_per_s\":%.1f,\"copy_gb_per_s\":%.1f,\"share_of_copy\":%.3f}\n",
          name, batch, tile, ms, moved, rate, copied, rate / copied);
      EXPECT_GT(rate, 0);
    }
  };
  const Input single{pictures::kFloat32, false, 224}, half{pictures::kFloat16, false, 224},
      half_last{pictures::kFloat16, true, 224}, bytes{pictures::kUInt8, true, 224};
  for (const int batch : {1, 8, 64, 256, 512}) {
    const std::vector<int> tiles = batch < 64 ? std::vector{0} : std::vector{0, 8, 16, 28, 32, 56, 112};
    time("fp32", single, 4, batch, tiles);
    time("fp16", half, 2, batch, tiles);
  }
  time("fp16 channels last", half_last, 2, 256, {0});
  time("uint8 channels last", bytes, 1, 256, {0});
}

}  // namespace
}  // namespace ferry
