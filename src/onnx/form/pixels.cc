// Pixels to what the network gets for them, and back.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ferry/error.h"
#include "ferry/form.h"
#include "ferry/image.h"

namespace ferry {
namespace {

struct Picture {
  std::int64_t n, c, h, w;
  bool channels_last;

  /// Index of a value in the layout of the pixels.
  std::size_t at(std::int64_t image, std::int64_t channel, std::int64_t place) const {
    const std::int64_t plane = h * w;
    return static_cast<std::size_t>(channels_last ? (image * plane + place) * c + channel
                                                  : (image * c + channel) * plane + place);
  }
};

Picture picture_of(const Shape& shape, bool channels_last) {
  if (shape.size() != 4) throw Error(Stage::kRun, to_string(shape), "is no batch of pictures: four sizes are needed");
  if (channels_last) return {shape[0], shape[3], shape[1], shape[2], true};
  return {shape[0], shape[1], shape[2], shape[3], false};
}

/// Mean and std as the graph has them: ImageNet's where the form has none.
struct Affine {
  std::vector<double> mean, std;
};

Affine affine_of(const GraphForm& form, std::int64_t channels) {
  Affine affine{{form.mean.begin(), form.mean.end()}, {form.std.begin(), form.std.end()}};
  if (form.mean.empty() && channels == 3) {
    const Preprocessing imagenet;
    affine = {{imagenet.mean.begin(), imagenet.mean.end()}, {imagenet.std.begin(), imagenet.std.end()}};
  }
  if (static_cast<std::int64_t>(affine.mean.size()) != channels || affine.mean.size() != affine.std.size())
    throw Error(Stage::kRun, "picture",
                fmt::format("{} channels, but the network normalises {}", channels, affine.mean.size()));
  return affine;
}

template <typename Body>
void for_each_value(const Picture& p, Body body) {
  std::size_t planar = 0;
  for (std::int64_t image = 0; image < p.n; ++image)
    for (std::int64_t channel = 0; channel < p.c; ++channel)
      for (std::int64_t place = 0; place < p.h * p.w; ++place)
        body(planar++, p.at(image, channel, place), static_cast<std::size_t>(channel));
}

}  // namespace

Tensor normalise_pixels(const TensorView& pixels, const GraphForm& form) {
  if (pixels.dtype != DType::kUInt8)
    throw Error(Stage::kRun, "picture", fmt::format("pixels are uint8, not {}", name_of(pixels.dtype)));
  const Picture p = picture_of(pixels.shape, form.input == InputForm::kUint8Nhwc);
  const Affine affine = affine_of(form, p.c);
  Tensor result(DType::kFloat32, {p.n, p.c, p.h, p.w});
  const auto out = result.floats();
  for_each_value(p, [&](std::size_t planar, std::size_t at, std::size_t c) {
    out[planar] = static_cast<float>((static_cast<double>(pixels.data[at]) / 255 - affine.mean[c]) / affine.std[c]);
  });
  return result;
}

Tensor pixels_of(const TensorView& normalised, const GraphForm& form) {
  if (normalised.dtype != DType::kFloat32)
    throw Error(Stage::kRun, "picture",
                fmt::format("normalised pictures are float32, not {}", name_of(normalised.dtype)));
  Picture p = picture_of(normalised.shape, false);
  const Affine affine = affine_of(form, p.c);
  p.channels_last = form.input == InputForm::kUint8Nhwc;
  Tensor result(DType::kUInt8, p.channels_last ? Shape{p.n, p.h, p.w, p.c} : Shape{p.n, p.c, p.h, p.w});
  const Tensor aligned = Tensor::copy_of(normalised);
  const auto in = aligned.floats();
  for_each_value(p, [&](std::size_t planar, std::size_t at, std::size_t c) {
    const double pixel = (static_cast<double>(in[planar]) * affine.std[c] + affine.mean[c]) * 255;
    result.data()[at] = static_cast<std::byte>(std::lround(std::clamp(pixel, 0.0, 255.0)));  // NaN becomes 0
  });
  return result;
}

}  // namespace ferry
