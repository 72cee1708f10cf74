#include "ferry/tensor.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "ferry/error.h"

namespace ferry {
namespace {

TEST(Half, EveryValueSurvivesTheRoundTrip) {
  for (int bits = 0; bits < 65536; ++bits) {
    const float value = half_to_float(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      EXPECT_EQ(float_to_half(value), bits);
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(float_to_half(1.0f + 0x1p-11f), 0x3c00);             // halfway: to even
  EXPECT_EQ(float_to_half(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);  // above halfway
  EXPECT_EQ(float_to_half(1.0f + 3 * 0x1p-11f), 0x3c02);         // halfway: to even
  EXPECT_EQ(float_to_half(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(0x1p-25f), 0x0000);
  EXPECT_EQ(float_to_half(0x1.8p-25f), 0x0001);
  EXPECT_EQ(float_to_half(-0.0f), 0x8000);
}

TEST(Half, DoubleIsRoundedOnce) {
  const double just_above_halfway = 1.0 + 0x1p-11 + 0x1p-40;  // a float cannot hold the last bit
  Tensor from(DType::kFloat64, {1});
  std::memcpy(from.data(), &just_above_halfway, 8);
  const Tensor to = convert(from.view(), DType::kFloat16);
  std::uint16_t bits;
  std::memcpy(&bits, to.data(), 2);
  EXPECT_EQ(bits, 0x3c01);
}

TEST(Half, LongRunsGiveWhatSingleValuesGive) {
  constexpr std::size_t kCount = 65536 + 5;  // every bit pattern, and a tail that is no multiple of eight
  Tensor halves(DType::kFloat16, {kCount});
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    std::memcpy(halves.data() + 2 * i, &bits, 2);
  }
  const Tensor wide = convert(halves.view(), DType::kFloat32), back = convert(wide.view(), DType::kFloat16);
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const float value = half_to_float(bits);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(wide.floats()[i]));
      continue;
    }
    ASSERT_EQ(wide.floats()[i], value) << i;
    ASSERT_EQ(std::memcmp(back.data() + 2 * i, halves.data() + 2 * i, 2), 0) << i;
  }
}

TEST(Half, LongRunsRoundLikeSingleValues) {
  const Tensor values = Tensor::random_normal({100003}, 11);
  Tensor scaled = values.clone();
  for (std::size_t i = 0; i < scaled.floats().size(); ++i)
    scaled.floats()[i] *= std::ldexp(1.0f, static_cast<int>(i % 44) - 26);
  const Tensor halves = convert(scaled.view(), DType::kFloat16);
  for (std::size_t i = 0; i < scaled.floats().size(); ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, halves.data() + 2 * i, 2);
    ASSERT_EQ(bits, float_to_half(scaled.floats()[i])) << scaled.floats()[i];
  }
}

TEST(BFloat16, RoundsToNearestEvenAndKeepsNaN) {
  EXPECT_EQ(float_to_bfloat16(1.0f), 0x3f80);
  EXPECT_EQ(float_to_bfloat16(1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(float_to_bfloat16(1.0f + 3 * 0x1p-8f), 0x3f82);
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Random, NormalValuesAreReproducibleAndNormal) {
  const Tensor a = Tensor::random_normal({100000}, 7), b = Tensor::random_normal({100000}, 7);
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < a.floats().size(); ++i) {
    ASSERT_EQ(a.floats()[i], b.floats()[i]);
    sum += a.floats()[i];
    squares += a.floats()[i] * a.floats()[i];
  }
  EXPECT_NEAR(sum / 100000, 0, 0.02);
  EXPECT_NEAR(squares / 100000, 1, 0.02);
  EXPECT_NE(a.floats()[0], Tensor::random_normal({1}, 8).floats()[0]);
}

class Npy : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("ferry-npy-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const char* name) const { return (folder_ / name).string(); }
  std::filesystem::path folder_;
};

TEST_F(Npy, RoundTripsShapesAndTypes) {
  for (const Shape& shape : {Shape{}, Shape{3}, Shape{2, 3}, Shape{0, 4}, Shape{1, 3, 5, 7}}) {
    Tensor tensor = Tensor::random_normal(shape, 3);
    write_npy(path("x.npy"), tensor.view());
    const Tensor back = read_npy(path("x.npy"));
    ASSERT_EQ(back.shape(), shape);
    EXPECT_EQ(std::memcmp(back.data(), tensor.data(), tensor.size_bytes()), 0);
  }
  write_npy(path("h.npy"), convert(Tensor::random_normal({4}, 1).view(), DType::kFloat16).view());
  EXPECT_EQ(read_npy(path("h.npy")).dtype(), DType::kFloat16);
}

TEST_F(Npy, RefusesEveryTruncation) {
  write_npy(path("x.npy"), Tensor::random_normal({2, 3}, 3).view());
  std::ifstream in(path("x.npy"), std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    std::ofstream(path("cut.npy"), std::ios::binary) << whole.substr(0, size);
    EXPECT_THROW(read_npy(path("cut.npy")), Error) << size;
  }
}

TEST_F(Npy, LeavesNothingBehindWhenTheFolderIsMissing) {
  EXPECT_THROW(write_npy(path("no/such/x.npy"), Tensor::random_normal({1}, 1).view()), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST(Shapes, RefuseOverflow) {
  EXPECT_THROW(element_count({std::int64_t{1} << 40, std::int64_t{1} << 40}), Error);
  EXPECT_THROW(element_count({-2}), Error);
}

}  // namespace
}  // namespace ferry
