// The options of `build` and `open` as the C interface gives them: JSON, where an unknown key is an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nvinfer/profiles.h"

namespace ferry::nvinfer {

struct BuildOptions {
  std::vector<Profile> profiles;     // at least one
  std::vector<std::string> targets;  // compute capabilities, "8.9"; empty: this machine's GPU
  std::optional<std::int64_t> workspace_bytes;
  std::optional<int> optimization_level;  // 0..5
  bool tf32 = false;
  int device = 0;
  std::vector<std::string> tactics;  // names as in config.cc; empty: the SDK's default
  std::optional<int> aux_streams, timing_runs;
  bool weight_streaming = false;  // the plan's weights may stay in host memory (OpenOptions::weight_budget_bytes)
};

struct OpenOptions {
  int device = 0;
  bool graphs = true;            // capture CUDA graphs
  bool layer_info = false;       // put the engine inspector's JSON into `io`
  bool proof = true;             // count the layers' types for `io`
  bool timing = true;            // record events around copies and compute
  std::size_t batch_limit = 16;  // batch sizes whose buffers and graphs a session keeps
  int copy_threads = 0;          // that share a large copy into pinned memory; 0: half of the cores, at most 8
  bool quick = true;             // small requests without copies of the driver's (quick.h)
  bool block = false;            // wait without keeping a core busy
  std::optional<std::int64_t> persistent_l2_bytes;
  std::optional<std::int64_t> weight_budget_bytes;  // of a plan for weight streaming: weights that the device keeps
};

/// Throw Failure naming the key. `json` may be null or empty for defaults.
BuildOptions parse_build_options(const char* json);
OpenOptions parse_open_options(const char* json);

}  // namespace ferry::nvinfer
