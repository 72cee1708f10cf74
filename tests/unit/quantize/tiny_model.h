// A small ResNet and statistics that it could have had.
#pragma once

#include "ferry/quantize.h"
#include "ferry/resnet.h"

namespace ferry {

OnnxModel tiny_model(ResNetArchitecture::Block block = ResNetArchitecture::Block::kBottleneck);
/// Without running it: channels of very different size. No moments of pictures.
Calibration made_up(const OnnxModel& model);
/// Of pictures that change slowly from pixel to pixel, as photographs do.
PictureMoments slow_pictures();

}  // namespace ferry
