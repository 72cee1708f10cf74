// A match from encoded pictures in memory to their best classes: each engine behind the pipeline of `classify`.
#pragma once

#include <string>
#include <vector>

#include "ferry/image_set.h"
#include "match.h"

namespace ferry::tool {

/// One row for each contestant, as `play` gives, in the mode "end-to-end". A run takes several batches of `batch`
/// pictures through decoding, preparing and the network, overlapped, and counts as one batch by the time that one took:
/// `images_per_second` is what the stream does. The best classes are held against the reference's, from the same
/// pictures. Those without an engine of ferry's (PyTorch in Python) are rows with a failure. Throws Error(kImage) if no
/// picture can be read.
std::vector<ComparisonRow> play_pictures(const Contestants& contestants, Contestant* reference, const ImageSet& images,
                                         const Preprocessing& preprocessing, std::int64_t batch,
                                         const MeasureOptions& options, const Progress& progress,
                                         std::vector<std::string>& notes);

}  // namespace ferry::tool
