#include "cuda/support.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cuda/machine.h"
#include "nvinfer/gpu_engine.h"
#include "nvinfer/io_json.h"

namespace ferry::latency {

const char* precision_of(const Layers& layers, const Layer& layer) {
  return layers.scale(layer.in) > 0 ? "Int8" : "Half";
}

nvinfer::Proof proof_of(const Layers& layers) {
  nvinfer::Proof proof;
  for (const Layer& layer : layers.layers)
    if (layer.kind == LayerKind::kConv || layer.kind == LayerKind::kDense) proof.count(precision_of(layers, layer));
  return proof;
}

namespace {

using Json = nlohmann::json;

Json verdict(const cuda::DeviceList& list) {
  const auto no = [](const std::string& reason, const std::string& remedy) {
    return Json{{"usable", false}, {"can_build", false}, {"reason", reason}, {"remedy", remedy}};
  };
  if (!cuda::kernels_resnet().compiled()) return no(cuda::kNoKernels, cuda::kNoKernelsRemedy);
  if (list.devices.empty()) {
    Json answer = no(list.reason + "; plans can be made for another machine (--target)", list.remedy);
    answer["can_build"] = true;
    return answer;
  }
  if (std::any_of(list.devices.begin(), list.devices.end(), runs_on))
    return {{"usable", true}, {"can_build", true}, {"reason", ""}, {"remedy", ""}};
  const cuda::DeviceInfo& first = list.devices.front();
  return no("it needs compute capability 8.0 or newer, and the " + first.name + " has " + first.compute_capability(),
            "use TensorRT on this GPU: the module tensorrt");
}

}  // namespace
}  // namespace ferry::latency

namespace ferry::nvinfer {

std::string describe_json() {
  return nlohmann::json{{"name", "cuda"},
                        {"display_name", latency::kDisplayName},
                        {"opens", {"plan"}},
                        {"builds", true},
                        {"kind", "gpu"},
                        {"reference", false},
                        {"precisions", {"fp16", "int8"}},
                        {"max_batch", latency::kMaxImages},
                        {"compiled_against", latency::kVersion}}
      .dump();
}

std::string supported_json() {
  const cuda::DeviceList list = cuda::devices();
  nlohmann::json answer = latency::verdict(list);
  answer["library"] = "";
  answer["version"] = latency::kVersion;
  answer["devices"] = nlohmann::json::array();
  for (const cuda::DeviceInfo& device : list.devices) {
    nlohmann::json entry = device_json(device);
    entry["usable"] = latency::runs_on(device);
    answer["devices"].push_back(std::move(entry));
  }
  return answer.dump();
}

}  // namespace ferry::nvinfer
