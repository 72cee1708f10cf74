#include "measure_options.h"

#include <algorithm>

namespace ferry::tool {

void MeasureFlags::add_to(CLI::App* verb) {
  verb->add_option("--runs", runs, "At least so many runs of each engine and batch")->check(CLI::Range(1, 1'000'000));
  verb->add_option("--seconds", seconds, "At least so many seconds for each engine and batch")
      ->check(CLI::Range(0.0, 86400.0));
}

// A CPU takes about a second for a batch of eight: fewer runs, so that the default comparison ends within half a
// minute.
MeasureOptions MeasureFlags::resolved(const std::string& device_kind) const {
  MeasureOptions options;
  if (device_kind == "cpu") {
    options.min_runs = 10;
    options.min_seconds = 2;
    options.max_seconds = 5;
    options.warmup_seconds = 0.3;
  }
  if (runs) {
    options.min_runs = *runs;
    options.max_seconds = 86400;  // whoever asks for a number of runs gets them
  }
  if (seconds) {
    options.min_seconds = *seconds;
    options.max_seconds = std::max(options.max_seconds, *seconds);
  }
  return options;
}

}  // namespace ferry::tool
