// Sets of pictures on disk, and a loader that turns them into batches of floats with several threads.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ferry/image.h"

namespace ferry {

struct ImageItem {
  std::string path;
  int label = -1;  // class number; -1: unknown
};

struct ImageSet {
  std::vector<ImageItem> items;  // sorted by path, or in the order of the label file
  bool labelled = false;         // every item has a label
  std::string layout;            // "label file", "class folders", "flat folder": for people
};

/// Finds the pictures of a set. With `labels_csv`: lines `file,class` (or `file class`), files relative to `folder`.
/// Without: a folder of class folders (ImageNet's validation layout; classes are the sorted folder names), else all
/// pictures below the folder, unlabelled. Throws Error(kImage) if the folder, a listed file's line or every picture is
/// missing. Pictures are recognised by extension here (.jpg .jpeg .png .webp .JPEG ...), by content when decoded.
ImageSet find_images(const std::string& folder, const std::string& labels_csv = {});

struct LoaderOptions {
  Preprocessing preprocessing;
  DecodeOptions decode;
  std::int64_t batch = 8;
  int threads = 0;  // 0: one for each processor
  /// Memory that batches are put into (pinned staging, say), each of batch * 3 * crop * crop floats. At least one; with
  /// several, decoding runs ahead of the consumer. Empty: the loader allocates two.
  std::vector<float*> buffers;
};

/// A batch in the order of the items: pictures that could not be read are left out and the rest moves up.
struct ImageBatch {
  float* data = nullptr;           // count * 3 * crop * crop
  std::vector<std::size_t> items;  // which item each row is; never empty
};

struct BrokenImage {
  std::string path, message;
};

struct LoadReport {
  std::size_t loaded = 0;
  std::vector<BrokenImage> broken;  // in the order of the items
};

/// Reads, decodes and preprocesses `items`, and calls `consume` on this thread with each batch in order. `consume`
/// returns false to stop early; what it throws is rethrown after the threads have ended. Memory is bounded by the
/// buffers and one picture a thread. The result does not depend on the number of threads.
LoadReport load_batches(const std::vector<ImageItem>& items, const LoaderOptions& options,
                        const std::function<bool(const ImageBatch&)>& consume);

}  // namespace ferry
