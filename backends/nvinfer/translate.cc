#include "nvinfer/translate.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <regex>
#include <string_view>

namespace ferry::nvinfer {
namespace {

constexpr const char* kDriverHint =
    "install or update the NVIDIA driver (nvidia-smi shows its version and the CUDA it can run), then reboot";
constexpr const char* kRebuildHint = "build the plan again on this machine from its ONNX file (ferry build)";

struct Case {
  const SdkFailure& failure;
  std::string all;    // every line, lower case
  std::string first;  // the line that says most, tidied
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool has_any(const std::string& text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return text.find(word) != std::string::npos; });
}

// std::regex recurses with the length of a line.
std::string head(const std::string& line) { return line.substr(0, 2000); }

// "[optimizer.cpp::computeCosts::4208] Error Code 10: Internal Error (Could not find ...)" -> the words that help.
std::string tidy(const std::string& line) {
  static const std::regex decoration(R"(^(\s*\[[^\]]*\])*\s*((\w+::)?\w+: )?((Internal )?Error Code \d+: )?)");
  std::string text = std::regex_replace(head(line), decoration, "", std::regex_constants::format_first_only);
  while (!text.empty() && (std::isspace(static_cast<unsigned char>(text.back())) || text.back() == '.'))
    text.pop_back();
  return text;
}

// The first error is the cause; what follows ("failed to create engine") is its echo.
std::string most_telling(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    if (lower(line).find("error") != std::string::npos) return tidy(line);
  }
  return lines.empty() ? std::string() : tidy(lines.front());
}

// "... for node {ForeignNode[a...b]}." -> "ForeignNode[a...b]"; "... for node conv1 + relu.)" -> "conv1 + relu"
std::string node_in(const std::vector<std::string>& lines) {
  constexpr std::string_view kBefore = "for node ";
  for (const std::string& line : lines) {
    const std::size_t at = line.find(kBefore);
    if (at == std::string::npos) continue;
    std::string node = head(line.substr(at + kBefore.size()));
    const bool braced = !node.empty() && node.front() == '{';
    for (const char* end : {braced ? "}" : ".)", " due to", ")"}) node = node.substr(0, node.find(end));
    if (braced) node.erase(0, 1);
    while (!node.empty() && node.back() == '.') node.pop_back();
    return node;
  }
  return {};
}

using Rule = bool (*)(const Case&, Failure&);

bool no_driver(const Case& c, Failure& out) {
  const bool told = has_any(c.all, {"cudaerrorinsufficientdriver", "driver version is insufficient", "error: 35",
                                    "error 35", "no cuda-capable device", "cudaerrornodevice", "error: 100",
                                    "failed to query cuda driver version", "cuda initialization failure"});
  const bool silent = c.failure.lines.empty() && !c.failure.driver_reason.empty();
  if (!told && !silent) return false;
  out.status = FERRY_UNSUPPORTED;
  out.cause = "cannot " + c.failure.what + ": " +
              (c.failure.driver_reason.empty() ? "the NVIDIA driver is too old for " + c.failure.sdk
                                               : "no usable NVIDIA driver (" + c.failure.driver_reason + ")");
  out.hint = kDriverHint;
  return true;
}

bool out_of_memory(const Case& c, Failure& out) {
  if (!has_any(c.all, {"out of memory", "outofmemory", "out_of_memory", "cudaerrormemoryallocation",
                       "insufficient memory", "requires more memory", "bad_alloc", "std::bad_alloc"})) {
    return false;
  }
  out.subject = node_in(c.failure.lines);
  out.cause = "not enough GPU memory to " + c.failure.what;
  if (c.all.find("any implementation") != std::string::npos) {
    out.cause += " (TensorRT says it found no implementation, but it ran out of memory while trying them)";
  }
  out.hint = "close what else uses the GPU (nvidia-smi lists it), build for a smaller largest batch (--batch 1:8:16)" +
             std::string(c.failure.workspace.empty() ? ""
                                                     : ", or give less or more than the workspace of " +
                                                           c.failure.workspace + " (--workspace)");
  return true;
}

bool no_implementation(const Case& c, Failure& out) {
  if (!has_any(c.all, {"could not find any implementation", "no implementation of layer"})) return false;
  out.subject = node_in(c.failure.lines);
  out.cause = c.failure.sdk + " has no kernel for this node that works within its workspace" +
              (c.failure.workspace.empty() ? "" : " of " + c.failure.workspace);
  out.hint =
      "most often this is memory: free the GPU, raise --workspace or lower the largest batch; otherwise this GPU has "
      "no "
      "kernel for the node's precision: try the fp16 model";
  return true;
}

bool builder_resource(const Case& c, Failure& out) {
  if (!has_any(c.all, {"unable to load library", "libnvinfer_builder_resource"})) return false;
  out.cause = "the SDK is not complete: " + c.first;
  out.hint = "install the whole SDK of this version and put its lib folder into LD_LIBRARY_PATH before starting ferry";
  return true;
}

bool wrong_device(const Case& c, Failure& out) {
  if (!has_any(c.all, {"incompatible device", "cannot run on this gpu", "different gpu architecture",
                       "hardware-compatible engine. expected compute"})) {
    return false;
  }
  out.subject = "plan";
  out.cause = "the plan was built for another GPU: " + c.first;
  out.hint = kRebuildHint;
  return true;
}

bool wrong_version(const Case& c, Failure& out) {
  if (!has_any(c.all, {"version tag does not match", "not compatible with this version of tensorrt",
                       "incompatible serialization version", "magictag", "magic tag does not match",
                       "serialization assertion"})) {
    return false;
  }
  out.subject = "plan";
  out.cause = "the plan was built by another version than " + c.failure.sdk + ", or is damaged: " + c.first;
  out.hint = kRebuildHint;
  return true;
}

bool unsupported_gpu(const Case& c, Failure& out) {
  if (!has_any(c.all, {"no kernel image", "unsupported compute capability", "is not supported by this tensorrt release",
                       "unsupported sm", "target gpu sm"})) {
    return false;
  }
  out.status = FERRY_UNSUPPORTED;
  out.cause = c.failure.sdk + " does not support this GPU: " + c.first;
  out.hint = "use a version of the SDK that lists this GPU's compute capability, or another backend (ferry doctor)";
  return true;
}

bool device_lost(const Case& c, Failure& out) {
  if (!has_any(c.all, {"illegal memory access", "cudaerrorillegaladdress", "unspecified launch failure",
                       "cudaerrorlaunchfailure"})) {
    return false;
  }
  out.cause = "the GPU's context is lost: " + c.first;
  out.hint = "restart the program; if it comes back, run it under compute-sanitizer and report the model";
  return true;
}

}  // namespace

Failure translate(const SdkFailure& failure) {
  std::string all;
  for (const std::string& line : failure.lines) all += line + "\n";
  const Case c{failure, lower(all), most_telling(failure.lines)};
  Failure out("", "", "");
  // Order matters: a driver or memory problem shows up as several of the later ones.
  static constexpr std::array<Rule, 8> kRules{no_driver,    builder_resource, unsupported_gpu, out_of_memory,
                                              wrong_device, wrong_version,    device_lost,     no_implementation};
  for (const Rule rule : kRules) {
    if (rule(c, out)) return out;
  }
  out.cause = failure.sdk + " could not " + failure.what + (c.first.empty() ? " and gave no reason" : ": " + c.first);
  out.hint = "run again with --verbose for the SDK's whole log";
  return out;
}

}  // namespace ferry::nvinfer
