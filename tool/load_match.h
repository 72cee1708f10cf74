// A match under load: the same as match.h with several sessions of each engine at once.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "ferry/load.h"
#include "match.h"

namespace ferry::tool {

/// --mode and --sessions.
struct LoadFlags {
  std::string modes = "latency";
  std::string sessions = "auto";

  void add_to(CLI::App* verb);
  /// In the order given; throws Error(kUsage) for a name that is none.
  std::vector<std::string> mode_list() const;
  /// 0: as many as turn out best.
  int session_count() const;
};

/// One row for each contestant, as `play` gives. How many sessions were taken and why goes into `notes`. Those without
/// an engine of ferry's (PyTorch in Python) are rows with a failure.
std::vector<ComparisonRow> play_load(const Contestants& contestants, Contestant* reference, const TensorView& input,
                                     LoadKind kind, int sessions, const MeasureOptions& options,
                                     const Progress& progress, std::vector<std::string>& notes);

/// `play` or `play_load`, by the name of the mode.
std::vector<ComparisonRow> play_mode(const std::string& mode, const LoadFlags& flags, const Contestants& contestants,
                                     Contestant* reference, const TensorView& input, const MeasureOptions& options,
                                     const Progress& progress, std::vector<std::string>& notes);

}  // namespace ferry::tool
