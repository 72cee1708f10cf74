// Options of the verbs that read pictures: which ones, how they are preprocessed, in which batches.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "context.h"
#include "ferry/image_set.h"
#include "preprocessing_options.h"

namespace ferry::tool {

struct PictureFlags {
  PreprocessingFlags preprocessing;
  std::int64_t batch = 8;
  int threads = 0;
  bool exif = false;

  void add_to(CLI::App* verb);
  LoaderOptions loader(const PictureFacts& facts) const;  // throws Error(kUsage)
};

/// The set in `folder`, with `labels` or, if that is empty, with labels.csv where the folder has one.
ImageSet find_set(const std::string& folder, const std::string& labels);

/// Names each broken picture on stderr (the first ten), says how many there are; true if there are any.
bool report_broken(const std::vector<BrokenImage>& broken, const Context& context);

/// Throws Error(kUsage) saying that the scores of all classes are needed, which a graph with --top-k does not give.
[[noreturn]] void refuse_top_k(const std::string& model);

}  // namespace ferry::tool
