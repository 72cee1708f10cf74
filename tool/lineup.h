// Who takes part in a comparison: every usable engine, through export and build, and PyTorch in Python if asked for.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "context.h"
#include "ferry/backend.h"
#include "match.h"
#include "model.h"

namespace ferry::tool {

/// In place of names of engines: none but the plan that the user built.
inline constexpr const char* kNoEngine = "none";

struct LineupOptions {
  std::vector<std::string> backends;    // empty: all that make sense here; {kNoEngine}: only `plan`
  std::vector<std::string> precisions;  // empty: fp32, and fp16 too on a GPU
  std::vector<std::int64_t> batches;    // empty: 1 and 8, and 32 and 128 too on a GPU
  std::string peers;                    // "": none, "all", or names of modes, with commas
  bool force = false;                   // build again
  std::string plan;                     // a plan or a plan set that takes part too; empty: none
  std::string model;                    // as typed: for the commands in notes
};

/// What was decided before anything was opened.
struct Plan {
  std::vector<BackendInfo> engines;    // in order of preference
  std::optional<BackendInfo> referee;  // gives the expected outputs but is not measured
  std::vector<std::string> precisions;
  std::vector<std::int64_t> batches;
  std::string device_kind;         // "gpu" if an engine runs on one
  std::vector<std::string> notes;  // what is left out and why
};

/// Every engine that ferry knows, and those of `names` that it does not list (engines made for tests). Throws
/// Error(kUsage) for a name that is none.
std::vector<BackendInfo> known_engines(const std::vector<std::string>& names);

/// Whether the engine can use a GPU of this machine.
bool on_gpu(const BackendInfo& info);

/// Throws Error(kBackend) if no engine can run anything here. `known` has every name in `options.backends`.
Plan plan_of(const std::vector<BackendInfo>& known, const LineupOptions& options, bool has_network);

struct Lineup {
  Contestants contestants;
  std::unique_ptr<Contestant> referee;  // not measured
  Contestant* reference = nullptr;      // one of `contestants`, or `referee`, or null
  std::vector<ComparisonRow> failed;    // engines that could not be built or opened
  Shape input_shape;                    // of one image
  bool pixels = false;                  // an engine takes uint8: the inputs have to be pixels for everybody
};

/// Opens everybody: exports, builds or finds in the cache. Failures become rows, not exceptions.
Lineup open_all(const Plan& plan, const LineupOptions& options, Model& model, const Context& context,
                std::vector<std::string>& notes);

/// Opens a model with one engine, in one precision; `batches` decides the profiles of what is built.
Engine open_with(const BackendInfo& info, Precision precision, Model& model, const std::vector<std::int64_t>& batches,
                 bool force, const Context& context, OpenOptions how = {});

/// For a build that needs the weights for its probe: read at that moment only. Empty for an ONNX file.
std::function<const ResNet&()> network_on_demand(Model& model);

/// {1, 8, 32} -> 1:1:1, 2:8:8, 9:32:32: every batch up to the largest, each of these at its best.
std::vector<BatchProfile> profiles_for(std::vector<std::int64_t> batches);

}  // namespace ferry::tool
