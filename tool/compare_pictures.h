// Pictures in a comparison: as the inputs that are timed, and to say what each engine gets right.
#pragma once

#include <string>
#include <vector>

#include "context.h"
#include "ferry/compare.h"
#include "ferry/image_set.h"
#include "lineup.h"
#include "model.h"

namespace ferry::tool {

struct PictureOptions {
  std::string images, labels;  // to evaluate on; empty: no evaluation
};

/// `count` pictures as one batch, repeated from the start where there are fewer. Throws Error(kImage) if none can be
/// read.
Tensor picture_inputs(const ImageSet& images, std::int64_t count, const Preprocessing& preprocessing);

/// Runs the pictures through every engine of the lineup that is still standing and puts what they said into the rows.
/// Adds notes about what was done and about those that cannot take part (PyTorch in Python).
void evaluate_on_pictures(const Lineup& lineup, const ImageSet& images, const Preprocessing& preprocessing,
                          std::int64_t batch, Comparison& comparison, const Context& context);

}  // namespace ferry::tool
