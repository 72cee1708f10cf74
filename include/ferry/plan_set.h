// Plan sets: one small JSON file that names several plans beside it, each for the batches at which its engine was the
// fastest when they were built. Everything that opens a plan opens a set. Format: docs/file-formats.md.
#pragma once

#include <string>
#include <vector>

#include "ferry/engine_file.h"
#include "ferry/measure.h"

namespace ferry {

struct PlanSet {
  /// A plan beside the set, with a sidecar of its own.
  struct Part {
    std::string file;  // without a folder
    std::string plan_sha256;
    std::string backend, engine;         // module and display name
    std::vector<BatchProfile> profiles;  // the batches that go to it
  };
  /// What one engine needed for one of the batches asked for.
  struct Measured {
    std::int64_t batch = 1;
    std::string backend, engine;
    double median_ms = 0, p99_ms = 0;
    std::string timed;  // as in Measurement
    bool chosen = false;
  };

  int version = 1;
  std::vector<Part> parts;  // no batch belongs to two of them
  std::vector<Measured> measured;
  std::vector<std::string> left_out;  // engines that are in no part, or not at some batches, and why
  std::vector<std::string> backends;  // asked for; empty: every one that builds
  std::vector<std::int64_t> batches;  // asked for, ascending
  std::string onnx_path, gpu, built_at, ferry_version;
};

std::string to_json(const PlanSet& set);
/// Throws Error(kOpen) for what is no set, is of another version, contradicts itself, or names a file elsewhere.
PlanSet plan_set_from_json(const std::string& text, const std::string& path);
/// Whether the file is meant as a plan set. Reads its beginning only.
bool is_plan_set(const std::string& path);
PlanSet read_plan_set(const std::string& path);  // throws Error(kOpen)

/// The sidecar of a plan. Of a set: that of its first plan, with the batches of all. What goes in and comes out is the
/// same for every plan of a set.
Sidecar describe_plan(const std::string& path);

struct PlanSetRequest {
  BuildRequest build;                 // `plan_path` is the set's and must be given; `backend` and profiles are ignored
  std::vector<std::string> backends;  // in order of preference; empty: every module that can build here
  std::vector<std::int64_t> batches;
  MeasureOptions measure;  // for each batch
};

struct PlanSetOutcome {
  PlanSet set;
  std::vector<BuildOutcome> builds;   // of every engine that was built, chosen or not
  std::vector<std::string> cautions;  // theirs
};

/// Builds the model with every engine (through the cache), measures them at each batch in turns, holds their answers
/// against those of the first, and writes the plans of the winners and the set that names them. An engine that is
/// absent, refuses the graph, fails or answers something else is left out, with the reason in `left_out`. Throws
/// Error(kBuild) if none is left for a batch; then nothing is written.
PlanSetOutcome build_plan_set(const PlanSetRequest& request);

/// The winner of each batch: the lowest median, but an engine named earlier stays unless the other is faster by more
/// than `noise`. `medians[batch][engine]`; NaN: the engine did not run it. Throws Error(kBuild) for a batch without
/// any.
std::vector<std::size_t> fastest(const std::vector<std::vector<double>>& medians, double noise);

}  // namespace ferry
