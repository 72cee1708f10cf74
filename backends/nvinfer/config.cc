#include "nvinfer/config.h"

#include <algorithm>
#include <regex>

#include "cuda_support/context.h"

namespace ferry::nvinfer {
namespace {

std::string capability_text(int capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

std::string supported_list() {
  std::string list;
  for (const int capability : sdk::kCapabilities) list += (list.empty() ? "" : ", ") + capability_text(capability);
  return list;
}

int parse_capability(const std::string& text) {
  std::smatch match;
  if (!std::regex_match(text, match, std::regex(R"(\s*(\d{1,2})\.(\d)\s*)"))) {
    throw Failure("target", "'" + text + "' is not a compute capability",
                  "write it like 8.9 (ferry doctor prints this machine's)");
  }
  return std::stoi(match[1]) * 10 + std::stoi(match[2]);
}

bool can_build_for(int capability) {
  return std::find(sdk::kCapabilities.begin(), sdk::kCapabilities.end(), capability) != sdk::kCapabilities.end();
}

int capability_of(const cuda::DeviceInfo& gpu) { return gpu.major * 10 + gpu.minor; }

void check_rtx_target(const Library& library, int capability) {
  if (can_build_for(capability)) return;
  throw Failure("target",
                library.sdk_text() + " does not support compute capability " + capability_text(capability) +
                    "; it supports " + supported_list(),
                "use full TensorRT on that GPU (backend tensorrt)", FERRY_UNSUPPORTED);
}

[[maybe_unused]] void decide_rtx(const Library& library, const BuildOptions& options, BuildPlace& place) {
  if (!options.targets.empty()) {
    for (const std::string& target : options.targets) place.capabilities.push_back(parse_capability(target));
  } else if (place.gpu) {
    place.capabilities = {capability_of(*place.gpu)};
  } else {
    throw Failure("target", "there is no GPU here (" + place.no_gpu_reason + ") and no target was named",
                  "name the compute capability to build for, e.g. --target 8.9 for an RTX 4060", FERRY_UNSUPPORTED);
  }
  for (const int capability : place.capabilities) check_rtx_target(library, capability);
  const auto& all = place.capabilities;
  place.runs_here = place.gpu && std::find(all.begin(), all.end(), capability_of(*place.gpu)) != all.end();
}

[[maybe_unused]] void decide_full(const BuildOptions& options, BuildPlace& place) {
  if (!place.gpu) {
    throw Failure("device",
                  "TensorRT builds by timing kernels on the GPU, and there is none here: " + place.no_gpu_reason,
                  "build on the machine that will run the engine, or use the backend tensorrt_rtx with --target",
                  FERRY_UNSUPPORTED);
  }
  for (const std::string& target : options.targets) {
    if (parse_capability(target) == capability_of(*place.gpu)) continue;
    throw Failure("target",
                  "TensorRT builds only for the GPU that it runs on, which has compute capability " +
                      place.gpu->compute_capability() + ", not " + target,
                  "build on a machine with that GPU, or use the backend tensorrt_rtx", FERRY_UNSUPPORTED);
  }
  place.runs_here = true;
}

nvinfer1::Dims with_batch(nvinfer1::Dims dims, std::int64_t batch) {
  dims.d[0] = batch;
  return dims;
}

void check_input(const nvinfer1::ITensor& input, const std::vector<Profile>& profiles) {
  const nvinfer1::Dims dims = input.getDimensions();
  const std::string name = input.getName();
  if (dims.nbDims < 1)
    throw Failure(name, "input '" + name + "' has no batch dimension", "export the model again (ferry export)");
  for (int i = 1; i < dims.nbDims; ++i) {
    if (dims.d[i] >= 0) continue;
    throw Failure(
        name, "input '" + name + "' has a dynamic dimension " + std::to_string(i) + "; only the batch may be dynamic",
        "export the model with a fixed image size");
  }
  if (dims.d[0] < 0) return;
  for (const Profile& profile : profiles) {
    if (profile.min == dims.d[0] && profile.max == dims.d[0]) continue;
    throw Failure(name,
                  "input '" + name + "' has the fixed batch size " + std::to_string(dims.d[0]) + ", asked for " +
                      ranges({profile}),
                  "export the model with a dynamic batch, or build with --batch " + std::to_string(dims.d[0]));
  }
}

struct Source {
  const char* name;
  nvinfer1::TacticSource source;
};
// Those that no version has deprecated.
constexpr Source kSources[] = {{"edge_mask_convolutions", nvinfer1::TacticSource::kEDGE_MASK_CONVOLUTIONS},
                               {"jit_convolutions", nvinfer1::TacticSource::kJIT_CONVOLUTIONS}};

nvinfer1::TacticSources sources(const std::vector<std::string>& names) {
  nvinfer1::TacticSources bits = 0;
  for (const std::string& name : names) {
    const Source* found = std::find_if(std::begin(kSources), std::end(kSources),
                                       [&](const Source& source) { return name == source.name; });
    if (name == "none") continue;  // nothing but the SDK's own kernels
    if (found == std::end(kSources)) {
      std::string known = "none";
      for (const Source& source : kSources) known += std::string(", ") + source.name;
      throw Failure("tactics", "there is no source of kernels '" + name + "'", "name some of: " + known);
    }
    bits |= 1U << static_cast<uint32_t>(found->source);
  }
  return bits;
}

void set_weight_streaming(nvinfer1::IBuilderConfig& config) {
  if constexpr (sdk::kStreamsWeights) {
    config.setFlag(nvinfer1::BuilderFlag::kWEIGHT_STREAMING);
  } else {
    throw Failure("weight_streaming",
                  std::string(sdk::kDisplayName) +
                      " streams no weights into memory that its caller brings, as ferry's " +
                      "sessions do, nor in a CUDA graph",
                  "leave it out (--weight-streaming), or use full TensorRT (backend tensorrt)", FERRY_UNSUPPORTED);
  }
}

}  // namespace

void set_effort(nvinfer1::IBuilderConfig& config, const BuildOptions& options) {
  if (options.optimization_level) config.setBuilderOptimizationLevel(*options.optimization_level);
  if (options.aux_streams) config.setMaxAuxStreams(*options.aux_streams);
  if (options.timing_runs) config.setAvgTimingIterations(*options.timing_runs);
  if (options.weight_streaming) set_weight_streaming(config);
  if (options.tactics.empty()) return;
  if (!config.setTacticSources(sources(options.tactics)))
    throw Failure("tactics", "the SDK refuses these sources of kernels", "leave --tactics out");
}

BuildPlace decide_place(const Library& library, const BuildOptions& options) {
  BuildPlace place;
  cuda::DeviceList list = cuda::devices();
  const auto index = static_cast<std::size_t>(options.device);
  if (index < list.devices.size()) {
    place.gpu = list.devices[index];
  } else {
    place.no_gpu_reason = list.devices.empty() ? list.reason
                                               : "device " + std::to_string(index) + " was asked for, there are " +
                                                     std::to_string(list.devices.size());
  }
  if constexpr (sdk::kRtx) {
    decide_rtx(library, options, place);
  } else {
    decide_full(options, place);
  }
  return place;
}

std::optional<std::size_t> workspace(const BuildOptions& options, bool on_gpu) {
  std::optional<std::size_t> limit;
  if (options.workspace_bytes) limit = static_cast<std::size_t>(*options.workspace_bytes);
  if (on_gpu) {
    const std::size_t most = cuda::memory_info().free / 10 * 8;
    limit = std::min(limit.value_or(most), most);
  }
  return limit;
}

void add_profiles(nvinfer1::IBuilder& builder, const nvinfer1::INetworkDefinition& network,
                  nvinfer1::IBuilderConfig& config, const std::vector<Profile>& profiles) {
  using Selector = nvinfer1::OptProfileSelector;
  for (int32_t i = 0; i < network.getNbInputs(); ++i) check_input(*network.getInput(i), profiles);
  for (const Profile& range : profiles) {
    nvinfer1::IOptimizationProfile* profile = builder.createOptimizationProfile();
    for (int32_t i = 0; i < network.getNbInputs(); ++i) {
      const nvinfer1::ITensor* input = network.getInput(i);
      const nvinfer1::Dims dims = input->getDimensions();
      profile->setDimensions(input->getName(), Selector::kMIN, with_batch(dims, range.min));
      profile->setDimensions(input->getName(), Selector::kOPT, with_batch(dims, range.opt));
      profile->setDimensions(input->getName(), Selector::kMAX, with_batch(dims, range.max));
    }
    if (!profile->isValid() || config.addOptimizationProfile(profile) < 0) {
      throw Failure("profiles", "the SDK refuses the batch range " + ranges({range}), "choose another range (--batch)");
    }
  }
}

}  // namespace ferry::nvinfer
