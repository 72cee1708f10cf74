#include "ferry/error.h"

#include <utility>

namespace ferry {
namespace {

std::string message(Stage stage, const std::string& subject, const std::string& cause, const std::string& hint) {
  std::string text = stage_name(stage);
  if (!subject.empty()) text += ": " + subject;
  text += ": " + cause;
  if (!hint.empty()) text += "\n  " + hint;
  return text;
}

}  // namespace

const char* stage_name(Stage stage) noexcept {
  switch (stage) {
    case Stage::kUsage:
      return "usage";
    case Stage::kFetch:
      return "fetch";
    case Stage::kCheckpoint:
      return "checkpoint";
    case Stage::kModel:
      return "model";
    case Stage::kOnnx:
      return "onnx";
    case Stage::kQuantize:
      return "quantize";
    case Stage::kBackend:
      return "backend";
    case Stage::kBuild:
      return "build";
    case Stage::kOpen:
      return "open";
    case Stage::kRun:
      return "run";
    case Stage::kImage:
      return "image";
    case Stage::kMeasure:
      return "measure";
    case Stage::kCompare:
      return "compare";
    case Stage::kReport:
      return "report";
    case Stage::kInterrupted:
      return "interrupted";
  }
  return "?";
}

Error::Error(Stage stage, std::string subject, std::string cause, std::string hint)
    : std::runtime_error(message(stage, subject, cause, hint)),
      stage_(stage),
      subject_(std::move(subject)),
      cause_(std::move(cause)),
      hint_(std::move(hint)) {}

}  // namespace ferry
