// --input, --top-k and their like: the form of what is exported or built.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "ferry/form.h"

namespace ferry::tool {

struct FormFlags {
  std::string input = "float", mean, std;
  std::optional<int> top_k, pad_channels;
  bool conv_classifier = false;

  void add_to(CLI::App* verb);
  /// Throws Error(kUsage).
  GraphForm resolved() const;
};

}  // namespace ferry::tool
