#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ferry/error.h"
#include "image/geometry.h"
#include "image/resample.h"

namespace ferry {
namespace {

Preprocessing imagenet(const char* name, int resize) {
  Preprocessing preset;
  preset.name = name;
  preset.resize = resize;
  return preset;
}

std::size_t padded(std::size_t bytes) { return (bytes + kRowSlack - 1) / kRowSlack * kRowSlack + kRowSlack; }

}  // namespace

const std::vector<std::string>& preprocessing_names() {
  static const std::vector<std::string> names{"imagenet-v1", "imagenet-v2"};
  return names;
}

Preprocessing preprocessing_named(const std::string& name) {
  if (name == "imagenet-v1") return imagenet("imagenet-v1", 256);
  if (name == "imagenet-v2") return imagenet("imagenet-v2", 232);
  throw Error(Stage::kUsage, name, "no such preprocessing preset",
              "Known presets: imagenet-v1 (resize 256), imagenet-v2 (resize 232); both crop 224.");
}

ImageView::ImageView(const ImageU8& image)
    : width(image.width),
      height(image.height),
      part_width(image.width),
      part_height(image.height),
      pixels(image.pixels.data()),
      stride(std::size_t{3} * static_cast<std::size_t>(std::max(image.width, 0))) {
  if (image.width < 1 || image.height < 1 || image.pixels.size() != stride * static_cast<std::size_t>(image.height))
    throw Error(Stage::kImage, "", "the picture has no pixels or not width x height x 3 bytes");
}

struct Preprocessor::Impl {
  Preprocessing preset;
  std::array<std::array<float, 256>, 3> value;  // what each pixel value becomes
  ResampleAxis x, y;
  std::vector<std::uint8_t> between, last_row, crop;

  explicit Impl(const Preprocessing& p) : preset(p) {
    if (p.resize < 1 || p.crop < 1 || p.resize > 16384 || p.crop > 16384)
      throw Error(Stage::kUsage, p.name, fmt::format("resize {} and crop {} must be 1 to 16384", p.resize, p.crop));
    for (std::size_t c = 0; c < 3; ++c) {
      if (!(p.std[c] > 0)) throw Error(Stage::kUsage, p.name, "every std must be above 0");
      // The same three float operations as torch's div, sub and div: the same bits.
      for (int v = 0; v < 256; ++v) value[c][v] = (static_cast<float>(v) / 255.0f - p.mean[c]) / p.std[c];
    }
  }

  std::size_t row_bytes() const { return std::size_t{3} * preset.crop; }

  // A row of the part that may be read past its end.
  const std::uint8_t* readable_row(const ImageView& image, int row) {
    const std::uint8_t* const from = image.at(image.left, row);
    if (row + 1 < image.top + image.part_height) return from;
    const std::size_t bytes = std::size_t{3} * static_cast<std::size_t>(image.part_width);
    last_row.resize(bytes + kRowSlack);
    std::memcpy(last_row.data(), from, bytes);
    return last_row.data();
  }

  std::uint8_t* crop_row(std::size_t output, const CropWindow& window) {
    return crop.data() + (window.y.begin + output) * row_bytes() + std::size_t{3} * window.x.begin;
  }

  // Pillow's usual order: the rows that the crop needs, each to the crop's columns; then down the columns.
  void width_then_height(const ImageView& image, const CropWindow& window) {
    const std::size_t bytes = x.outputs.size() * 3, stride = padded(bytes);
    between.resize(stride * (y.source_end - y.source_first) + kRowSlack);
    for (ResampleAxis::Output& o : x.outputs) o.start -= image.left;
    for (int row = y.source_first; row < y.source_end; ++row)
      resample_row(x, readable_row(image, row), between.data() + stride * (row - y.source_first));
    last_row.resize(stride);
    for (std::size_t o = 0; o < y.outputs.size(); ++o) {
      resample_column(y, o, {between.data(), stride}, bytes, last_row.data());
      std::memcpy(crop_row(o, window), last_row.data(), bytes);
    }
  }

  // Its order for tall pictures. Only the columns that the crop needs are read.
  void height_then_width(const ImageView& image, const CropWindow& window) {
    const std::size_t bytes = std::size_t{3} * (x.source_end - x.source_first), stride = padded(bytes);
    const int rows = y.source_end - y.source_first;
    between.resize(stride * rows);
    for (int row = 0; row < rows; ++row)
      std::memcpy(between.data() + stride * row, image.at(x.source_first, y.source_first + row), bytes);
    last_row.resize(stride);
    for (ResampleAxis::Output& o : x.outputs) o.start -= x.source_first;
    for (std::size_t o = 0; o < y.outputs.size(); ++o) {
      resample_column(y, o, {between.data(), stride}, bytes, last_row.data());
      resample_row(x, last_row.data(), crop_row(o, window));
    }
  }

  void cut(const ImageView& image) {
    const CropWindow window = crop_window(image.width, image.height, preset);
    crop.assign(row_bytes() * preset.crop, 0);
    const auto inside = [](const CropAxis& axis) { return axis.end - axis.begin; };
    x.assign(image.width, window.x.resized, window.x.first + window.x.begin, inside(window.x));
    y.assign(image.height, window.y.resized, window.y.first + window.y.begin, inside(window.y));
    if (x.outputs.size() > 0 && y.outputs.size() > 0 &&
        (x.source_first < image.left || x.source_end > image.left + image.part_width || y.source_first < image.top ||
         y.source_end > image.top + image.part_height))
      throw Error(Stage::kImage, "", "the part of the picture lacks pixels that the crop needs");
    if (height_first(image.width, image.height, window.x.resized, window.y.resized))
      height_then_width(image, window);
    else
      width_then_height(image, window);
  }
};

Preprocessor::Preprocessor(const Preprocessing& preset) : impl_(std::make_unique<Impl>(preset)) {}
Preprocessor::Preprocessor(Preprocessor&&) noexcept = default;
Preprocessor& Preprocessor::operator=(Preprocessor&&) noexcept = default;
Preprocessor::~Preprocessor() = default;

const Preprocessing& Preprocessor::preset() const noexcept { return impl_->preset; }
std::size_t Preprocessor::floats() const noexcept { return impl_->row_bytes() * impl_->preset.crop; }

std::span<const std::uint8_t> Preprocessor::pixels(const ImageView& image) {
  impl_->cut(image);
  return impl_->crop;
}

void Preprocessor::run(const ImageView& image, float* planes) {
  impl_->cut(image);
  const std::size_t count = impl_->crop.size() / 3;
  const std::uint8_t* const pixels = impl_->crop.data();
  const auto& value = impl_->value;
  for (std::size_t i = 0; i < count; ++i) {
    planes[i] = value[0][pixels[3 * i]];
    planes[count + i] = value[1][pixels[3 * i + 1]];
    planes[2 * count + i] = value[2][pixels[3 * i + 2]];
  }
}

}  // namespace ferry
