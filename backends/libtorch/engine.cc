#include "libtorch/engine.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include "module/cpu.h"
#if FERRY_TORCH_CUDA
#include "cuda_support/devices.h"
#endif

namespace ferry::libtorch {
namespace {

using module::Failure;

/// The GPU unless there is none, PyTorch has no CUDA, or the caller prefers the CPU.
bool use_gpu(const Options& options) {
#if FERRY_TORCH_CUDA
  return !options.prefer_cpu && !cuda::devices().devices.empty();
#else
  (void)options;
  return false;
#endif
}

Placement place(const Options& options) {
  if (!use_gpu(options)) {
    if (options.fp16)
      throw Failure("precision",
                    "fp16 needs a GPU: on a CPU PyTorch would convert back and forth and be slower than fp32",
                    "Use --precision fp32.", FERRY_UNSUPPORTED);
    if (options.capture) throw Failure("capture", "there is no CUDA graph on a CPU", "", FERRY_UNSUPPORTED);
    return {};
  }
#if FERRY_TORCH_CUDA
  prepare_cuda(options.device);
#endif
  return {at::Device(at::kCUDA, static_cast<at::DeviceIndex>(options.device)), options.fp16 ? at::kHalf : at::kFloat,
          options.fp16 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous};
}

}  // namespace

Options Options::parse(const char* text) {
  const nlohmann::json json = module::options(
      text, {"device", "precision", "threads", "graphs", "layer_info", "prefer_cpu", "capture", "height", "width"});
  Options options;
  options.device = json.value("device", 0);
  options.threads = json.value("threads", 0);
  options.height = json.value("height", 224);
  options.width = json.value("width", 224);
  options.prefer_cpu = json.value("prefer_cpu", false);
  options.capture = json.value("capture", false);
  const std::string precision = json.value("precision", "fp32");
  if (precision != "fp32" && precision != "fp16")
    throw Failure("precision", "LibTorch runs fp32 and fp16; " + precision + " was asked for", "", FERRY_UNSUPPORTED);
  options.fp16 = precision == "fp16";
  if (options.threads < 0) throw Failure("threads", "a number of threads cannot be negative");
  if (options.threads == 0) options.threads = module::physical_cores();
  if (options.height < 1 || options.width < 1) throw Failure("height, width", "a picture has at least one pixel");
  return options;
}

}  // namespace ferry::libtorch

ferry_engine::ferry_engine(const ferry_open_args& args, const ferry::libtorch::Options& with)
    : options(with),
      architecture(ferry::libtorch::Architecture::parse(args.architecture_json)),
      placement(ferry::libtorch::place(with)),
      network(architecture, args.weights, args.weights_count, placement),
      log(args.log) {}

std::vector<std::int64_t> ferry_engine::input_shape(std::int64_t batch) const {
  return {batch, architecture.input_channels, options.height, options.width};
}

nlohmann::json ferry_engine::describe() const {
  using nlohmann::json;
  const json input{{"name", "input"}, {"dtype", 1}, {"shape", input_shape(-1)}};
  const json output{{"name", "output"}, {"dtype", 1}, {"shape", output_shape(-1)}};
  json device{{"kind", "cpu"}, {"name", ferry::module::cpu_name()}};
#if FERRY_TORCH_CUDA
  if (placement.device.is_cuda()) device = ferry::libtorch::describe_gpu(options.device);
#endif
  return {{"inputs", {input}},
          {"outputs", {output}},
          {"profiles", json::array()},
          {"max_batch", nullptr},
          {"device", device},
          {"sdk_version", TORCH_VERSION},
          {"device_memory_bytes", placement.device.is_cuda() ? network.bytes() : 0},
          {"resident", placement.device.is_cuda()},
          {"precision_proof",
           {{"layers", network.layers()}, {"by_type", {{options.fp16 ? "Half" : "Float", network.layers()}}}}}};
}
