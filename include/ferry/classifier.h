// Photographs in, labels out: one picture at a time, or a stream of any length at the engine's full speed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ferry/backend.h"
#include "ferry/image.h"
#include "ferry/measure.h"
#include "ferry/pictures.h"

namespace ferry {

struct Label {
  int index = 0;     // class number
  std::string name;  // "tabby", or "class 281" where no name is known
  float score = 0;   // probability (softmax over all classes)
};

struct ClassifierOptions {
  /// Empty: what the model's files say, else imagenet-v1.
  std::optional<Preprocessing> preprocessing;
  /// Empty: what the model's files say, else ImageNet's for 1000 classes.
  std::vector<std::string> class_names;
  int top_k = 5;
  DecodeOptions decode;
  std::int64_t batch = 0;  // pictures of a stream that run together; 0: chosen for the engine
  int threads = 0;         // that decode a stream; 0: one for each processor
  int thumbnail = 0;       // side of the JPEG of the network's crop that each picture of a stream gets; 0: none
};

/// What a model's files say about the pictures it wants: a plan's sidecar, an ONNX file's metadata, or a checkpoint
/// that is one of torchvision's published ones (recognised by its SHA-256, whatever its name). Empty where they say
/// nothing.
struct PictureFacts {
  std::string preprocessing;             // name of a preset
  std::vector<std::string> class_names;  // in the order of the classes
};
PictureFacts picture_facts(const std::string& model_path);

/// One picture of a stream: `labels` best first, or `error`.
struct Classified {
  std::size_t number = 0;  // in the stream, from 0
  std::string name;
  int label = -1;             // the class it belongs to, where the source knows it
  std::vector<Label> labels;  // empty: broken
  std::string error;          // why it could not be read; empty: it was
  std::string thumbnail;      // JPEG, if asked for
};

struct ClassifyReport {
  std::size_t classified = 0, broken = 0;
  bool interrupted = false;  // `stop` ended it: everything that was handed on is complete
  double seconds = 0;
  std::int64_t batch = 0;  // what was chosen
};

/// An engine with its preprocessing and its class names. Cheap to copy (shared). All functions may be called from
/// several threads at once. A picture that cannot be read throws Error(kImage) naming it; an engine that fails,
/// Error(kRun).
class Classifier {
 public:
  /// Opens a plan, an ONNX file or a checkpoint, as `Engine::open` does.
  static Classifier open(const std::string& model, const ClassifierOptions& options = {},
                         const OpenOptions& open_options = {});
  /// Over an engine that is open already; `options` say all that is known (see `picture_facts`). Throws Error(kOpen) if
  /// the engine does not take square colour pictures and give scores, or if the preprocessing crops another size.
  explicit Classifier(Engine engine, const ClassifierOptions& options = {});

  std::vector<Label> classify(const std::string& path) const;
  /// An encoded picture (JPEG, PNG, WebP) in memory; `name` stands in messages.
  std::vector<Label> classify_bytes(std::string_view bytes, const std::string& name = "picture") const;
  std::vector<Label> classify_pixels(const ImageU8& image) const;

  /// Classifies a whole stream: threads decode into staging batches, several requests are in flight, `consume` is
  /// called on this thread for each picture in order, broken ones too. Memory is bounded by the batches and one decoded
  /// picture a thread. `consume` returns false to end it early; `stop` is asked a few times a second, and when it says
  /// true, what is in flight is still handed on. The result depends neither on the threads nor on the batch beyond what
  /// the engine makes of it.
  ClassifyReport classify_all(PictureSource& pictures, const std::function<bool(Classified&&)>& consume,
                              const std::function<bool()>& stop = {}) const;

  const Preprocessing& preprocessing() const noexcept;
  /// One name a class.
  const std::vector<std::string>& class_names() const noexcept;
  const Engine& engine() const noexcept;

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

/// One who takes part in `measure` (ferry/measure.h) end to end: a run takes all of `encoded`, pictures in memory, from
/// their bytes to their labels, overlapped as `classify_all` does it; a single one by `classify_bytes`. Throws
/// Error(kRun) from a run in which a picture could not be classified.
Competitor end_to_end(const Classifier& classifier, std::vector<std::string> encoded, const std::string& name,
                      const std::string& precision);

}  // namespace ferry
