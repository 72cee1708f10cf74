// Where torchvision's preset looks: size after the resize, and the window that the centre crop cuts out of it.
#pragma once

#include "ferry/image.h"

namespace ferry {

struct CropAxis {
  int resized = 0;  // samples of this axis after the resize
  int first = 0;    // first resized sample in the crop; negative: the crop begins in the black border
  int begin = 0;    // [begin, end) of the crop's samples come from the picture, the rest is black
  int end = 0;
};
struct CropWindow {
  CropAxis x, y;
};

/// torchvision's arithmetic and rounding (transforms.functional: resize, center_crop). Throws Error(kImage) if the
/// resized picture would exceed 2^30 samples along an axis.
CropWindow crop_window(int width, int height, const Preprocessing& preset);

/// What a preset reads of a picture: samples [first, end) of each axis.
struct NeededPart {
  int left, top, right, bottom;
};
NeededPart needed_part(int width, int height, const CropWindow& window);

}  // namespace ferry
