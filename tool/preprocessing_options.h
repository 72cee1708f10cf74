// How pictures are prepared, on the command line: shared by the verbs that read pictures.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ferry/classifier.h"
#include "model.h"

namespace ferry::tool {

struct PreprocessingFlags {
  std::string preset, mean, std;
  std::optional<int> resize, crop;

  /// --preset, --resize, --crop, --mean, --std.
  void add_to(CLI::App* verb);
  /// The preset asked for, else what the model says, else imagenet-v1; then what was given by number.
  Preprocessing settle(const PictureFacts& facts) const;
};

/// What the model's files say; nothing for random weights.
PictureFacts facts_of(const Model& model);

}  // namespace ferry::tool
