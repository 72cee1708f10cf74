// Opening one model with one engine, for the verbs that run a single one.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "context.h"
#include "ferry/backend.h"
#include "model.h"

namespace ferry::tool {

struct OpenFlags {
  std::string backend;    // empty: the best usable one
  std::string precision;  // of a checkpoint; empty: fp32
  bool probe = false;     // ask a plan's probe even if it passed here lately
  OpenOptions how;        // --no-graphs, --block, --copy-threads, --persistent-l2, --weight-budget
  std::optional<double> persistent_l2_mb, weight_budget_mb;
  bool no_graphs = false, no_quick = false;

  void add_to(CLI::App* verb);
  OpenOptions options() const;
};

struct OpenedModel {
  Engine engine;
  std::string precision;
};

/// The name of the engine that runs a batch, for people: of a plan set, that of one of its plans.
std::string engine_at(const EngineInfo& info, std::int64_t batch);

/// A plan is opened as it is. An ONNX file or a checkpoint is opened with the engine asked for, or with the best one
/// that is usable here, through export and build in the cache; `batches` decides the profiles of what is built.
OpenedModel open_model(Model& model, const OpenFlags& flags, const std::vector<std::int64_t>& batches,
                       const Context& context);

}  // namespace ferry::tool
