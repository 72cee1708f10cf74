// Pictures: encoded bytes to pixels, pixels to the numbers a network expects, and class numbers to names.
//
// The results are those of Pillow and torchvision: `decode_image` gives the pixels of
// `PIL.Image.open(f).convert("RGB")`, `Preprocessor` those of torchvision's `ImageClassification` preset on that image
// (docs/images.md says how closely). Every failure is an Error(kImage) that names the file.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ferry {

/// A picture: `height` rows of `width` pixels, 3 bytes each (red, green, blue), no gaps.
struct ImageU8 {
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;

  const std::uint8_t* row(int y) const noexcept { return pixels.data() + std::size_t{3} * width * y; }
  std::uint8_t* row(int y) noexcept { return pixels.data() + std::size_t{3} * width * y; }
};

struct DecodeOptions {
  /// Turn the picture as its EXIF orientation says. Off as in Pillow's `open` and torchvision.
  bool exif_orientation = false;
  /// Larger pictures are refused before anything is allocated (Pillow's limit).
  std::int64_t max_pixels = 178'956'970;
};

/// Decodes JPEG, PNG or WebP, recognised by content. `name` stands in messages.
ImageU8 decode_image(std::string_view bytes, const std::string& name, const DecodeOptions& options = {});
/// The same into an existing picture, whose memory is reused. On failure its content is unspecified.
void decode_image(std::string_view bytes, const std::string& name, const DecodeOptions& options, ImageU8& into);
/// Reads and decodes a file.
ImageU8 read_image(const std::string& path, const DecodeOptions& options = {});
/// The formats this build decodes: "JPEG", "PNG", "WebP".
std::vector<std::string> image_formats();

/// What torchvision calls a preset: shorter side to `resize` (antialiased bilinear), centre crop, x/255, (x-mean)/std.
struct Preprocessing {
  std::string name = "imagenet-v1";
  int resize = 256;  // of the shorter side
  int crop = 224;
  std::array<float, 3> mean{0.485f, 0.456f, 0.406f};
  std::array<float, 3> std{0.229f, 0.224f, 0.225f};
  bool operator==(const Preprocessing&) const = default;
};
/// "imagenet-v1" (torchvision's IMAGENET1K_V1 weights) or "imagenet-v2" (IMAGENET1K_V2); otherwise throws
/// Error(kUsage) naming both.
Preprocessing preprocessing_named(const std::string& name);
const std::vector<std::string>& preprocessing_names();

/// A picture's pixels, owned by somebody else: all of them, or the part that a crop needs.
struct ImageView {
  ImageView() = default;
  /// The whole picture. Throws Error(kImage) if it has no pixels, or not as many as its sides say.
  ImageView(const ImageU8& image);  // NOLINT(google-explicit-constructor): a picture is a view of itself

  int width = 0, height = 0;                               // of the whole picture
  int left = 0, top = 0, part_width = 0, part_height = 0;  // what is there
  const std::uint8_t* pixels = nullptr;                    // of the part, rows `stride` bytes apart
  std::size_t stride = 0;
  const std::uint8_t* at(int x, int y) const noexcept {  // coordinates of the whole picture
    return pixels + static_cast<std::size_t>(y - top) * stride + static_cast<std::size_t>(x - left) * 3;
  }
};

/// Decodes at least the part of a picture that `preset` makes its crop of: the same pixels as `decode_image`, but of a
/// JPEG file (without EXIF orientation) only the blocks that are needed are computed. `into` holds the pixels.
ImageView decode_part(std::string_view bytes, const std::string& name, const DecodeOptions& options,
                      const Preprocessing& preset, ImageU8& into);

/// Applies one preset to pictures of any size. Keeps scratch memory, so use one a thread.
class Preprocessor {
 public:
  explicit Preprocessor(const Preprocessing& preset);  // throws Error(kUsage) on sizes below 1 or a std of 0
  Preprocessor(Preprocessor&&) noexcept;
  Preprocessor& operator=(Preprocessor&&) noexcept;
  ~Preprocessor();

  const Preprocessing& preset() const noexcept;
  /// Floats of one image: 3 * crop * crop.
  std::size_t floats() const noexcept;
  /// Resized, cropped, normalised: 3 planes of crop x crop (CHW). Throws Error(kImage) if a part lacks what is needed.
  void run(const ImageView& image, float* planes);
  /// Resized and cropped only: crop x crop RGB pixels. Valid until the next call.
  std::span<const std::uint8_t> pixels(const ImageView& image);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The names of the 1000 ImageNet classes, as torchvision's weights list them.
const std::vector<std::string>& imagenet_classes();
/// Class names from a text file, line k (from 0) for class k. Throws Error(kImage) if it is empty.
std::vector<std::string> read_class_names(const std::string& path);

struct ClassScore {
  int index = 0;
  float score = 0;
};
/// The k best classes, best first; equal scores by lower index. With `softmax`, scores are probabilities. k larger than
/// the row gives the whole row. Throws Error(kRun) if the row is empty or holds a NaN.
std::vector<ClassScore> top_k(std::span<const float> logits, int k, bool softmax);

}  // namespace ferry
