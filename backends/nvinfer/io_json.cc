#include "nvinfer/io_json.h"

#include <algorithm>
#include <cmath>

#include "cuda_pictures/preparer.h"
#include "cuda_support/peaks.h"

namespace ferry::nvinfer {
namespace {

using Json = nlohmann::json;

Json ports_json(const std::vector<Port>& ports) {
  Json list = Json::array();
  for (const Port& port : ports) list.push_back({{"name", port.name}, {"dtype", port.dtype}, {"shape", port.shape}});
  return list;
}

}  // namespace

Json device_json(const cuda::DeviceInfo& device) {
  return {{"kind", "gpu"},
          {"index", device.index},
          {"name", device.name},
          {"compute_capability", device.compute_capability()},
          {"memory_bytes", device.memory_bytes},
          {"driver", device.driver},
          {"cuda", device.cuda}};
}

Json profiles_json(const std::vector<Profile>& profiles) {
  Json list = Json::array();
  for (const Profile& p : profiles) list.push_back({{"min", p.min}, {"opt", p.opt}, {"max", p.max}});
  return list;
}

Json peaks_json(int device_index) {
  const cuda::Peaks peaks = cuda::peaks(device_index);
  return {{"flops_per_second", peaks.flops_per_second},
          {"bytes_per_second", std::isfinite(peaks.bytes_per_second) ? Json(peaks.bytes_per_second) : Json()}};
}

std::string io_json(const GpuEngine& engine) {
  std::int64_t max_batch = 0;
  for (const Profile& profile : engine.profiles()) max_batch = std::max(max_batch, profile.max);
  const OpenOptions& options = engine.options();
  Json json = {{"inputs", ports_json(engine.inputs())},
               {"outputs", ports_json(engine.outputs())},
               {"profiles", profiles_json(engine.profiles())},
               {"max_batch", max_batch},
               {"device", device_json(engine.device())},
               {"sdk_version", engine.sdk_version()},
               {"device_memory_bytes", engine.weights_bytes() + engine.arena_bytes()}};
  const std::vector<Port>& in = engine.inputs();
  json["images"] =
      pictures::kernels().compiled() && in.size() == 1 && pictures::input_for(in[0].dtype, in[0].shape).has_value();
  // Counting takes its time: only if somebody wants to know.
  json["precision_proof"] = options.proof ? Json::parse(to_json(engine.proof())) : Json(nullptr);
  if (const auto streaming = engine.weight_streaming())
    json["weight_streaming"] = {{"streamable_bytes", streaming->streamable}, {"budget_bytes", streaming->budget}};
  if (options.layer_info) json["layer_info"] = Json::parse(engine.layers_json(), nullptr, false);
  return json.dump();
}

}  // namespace ferry::nvinfer
