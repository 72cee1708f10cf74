// MODEL on the command line: a checkpoint, an ONNX file, a plan, or a network's name; and what is made of it on demand.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "cli.h"
#include "context.h"
#include "ferry/onnx.h"
#include "ferry/resnet.h"

namespace ferry::tool {

/// Which model is meant; shared by every verb that takes one.
struct ModelOptions {
  std::string model;
  std::string arch;    // what to expect of a checkpoint
  std::string random;  // --random-weights[=SEED]: the seed; empty: not asked for
  bool keep_batch_norm = false;
  GraphForm form;           // of what is exported
  std::string calibration;  // for INT8: a folder of pictures, or the .json that ferry quantize left; empty: none
};
/// MODEL, --arch and --random-weights.
void add_model_options(CLI::App* verb, ModelOptions& options, const std::string& what);

enum class ModelKind { kCheckpoint, kOnnx, kPlan, kName };

/// An existing file by its content and name, else a known network's name. Throws Error.
ModelKind kind_of(const std::string& model);

/// A model and what can be had from it. Nothing is read before it is needed, so that a second run, with everything in
/// the cache, stays quick.
class Model {
 public:
  /// Throws Error(kUsage) where options contradict each other. May download (a name) or say that it cannot.
  Model(const ModelOptions& options, const Context& context);

  ModelKind kind() const noexcept { return kind_; }  // never kName: a name has become a checkpoint or random weights
  bool has_network() const noexcept { return kind_ == ModelKind::kCheckpoint; }
  /// The network with its weights. Throws Error(kModel) for an ONNX file or a plan, which have none.
  const ResNet& network();
  /// The same, for a caller that is the last to need it.
  ResNet take_network();
  /// The checkpoint, ONNX or plan; empty for random weights.
  const std::string& path() const noexcept { return path_; }
  /// An ONNX file in one precision: exported or converted into the cache, or the user's own where it is that already.
  /// INT8 is made of the float32 file with the calibration that the options name. Throws Error(kUsage) without one.
  std::string onnx(Precision precision);
  /// What goes into the graphs that `onnx` gives, and what comes out: as asked for, or as the user's own file says. Of
  /// a plan: its sidecar's.
  GraphForm form() const;
  /// What changed in the user's own ONNX, for people.
  const std::vector<std::string>& notes() const noexcept { return notes_; }

  bool random() const noexcept { return random_.has_value(); }
  /// "resnet101", or the file's name where the network is not known.
  std::string name();
  /// Where the weights come from: the file, or "random weights, seed 7".
  std::string origin() const;
  /// For names of files made from it: "resnet101", "photocells-resnet101".
  std::string stem() const;

 private:
  bool holds_int8() const;
  std::string export_network(Precision precision);
  std::string prepare_own_onnx(Precision precision);

  const Context& context_;
  ModelKind kind_ = ModelKind::kCheckpoint;
  std::string path_;
  bool keep_batch_norm_ = false;
  GraphForm form_;
  std::string calibration_;
  std::optional<ResNetArchitecture> random_;    // of random weights
  std::optional<ResNetArchitecture> expected_;  // --arch
  std::uint64_t seed_ = 1;
  std::unique_ptr<ResNet> network_;
  std::map<Precision, std::string> onnx_;
  std::vector<std::string> notes_;
};

}  // namespace ferry::tool
