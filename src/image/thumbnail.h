// A small JPEG of what a network saw of a picture.
#pragma once

#include <string>

#include "ferry/image.h"

namespace ferry {

/// `preset` scaled so that its crop has this side, for `thumbnail`.
Preprocessing thumbnail_preset(const Preprocessing& preset, int side);
/// JPEG of the preprocessor's crop of a picture.
std::string thumbnail(const ImageView& image, Preprocessor& preprocessor);

}  // namespace ferry
