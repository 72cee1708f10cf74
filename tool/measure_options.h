// --runs and --seconds: how long to measure.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "ferry/measure.h"

namespace ferry::tool {

struct MeasureFlags {
  std::optional<int> runs;
  std::optional<double> seconds;

  void add_to(CLI::App* verb);
  /// The defaults of this kind of device ("cpu" or "gpu") with what the user asked for.
  MeasureOptions resolved(const std::string& device_kind) const;
};

}  // namespace ferry::tool
