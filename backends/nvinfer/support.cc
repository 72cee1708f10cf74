#include <algorithm>
#include <future>
#include <nlohmann/json.hpp>

#include "cuda_support/devices.h"
#include "nvinfer/gpu_engine.h"
#include "nvinfer/io_json.h"
#include "nvinfer/library.h"
#include "nvinfer/plan_header.h"

namespace ferry::nvinfer {
namespace {

using Json = nlohmann::json;

struct Verdict {
  bool usable = false, can_build = false;
  std::string reason, remedy;
};

bool runs_on(const cuda::DeviceInfo& device) {
  const int capability = device.major * 10 + device.minor;
  return sdk::kCapabilities.empty() ||
         std::find(sdk::kCapabilities.begin(), sdk::kCapabilities.end(), capability) != sdk::kCapabilities.end();
}

Verdict judge(const Library& found, const cuda::DeviceList& list) {
  if (!found.usable()) return {false, false, found.reason, found.remedy};
  if (list.devices.empty()) {
    const std::string building = sdk::kRtx ? "; engines can be built for another machine (--target)" : "";
    return {false, sdk::kRtx, list.reason + building, list.remedy};
  }
  if (std::any_of(list.devices.begin(), list.devices.end(), runs_on)) return {true, true, "", ""};
  const cuda::DeviceInfo& first = list.devices.front();
  return {false, sdk::kRtx,
          found.sdk_text() + " does not run on the " + first.name + " (compute capability " +
              first.compute_capability() + ")",
          "use full TensorRT on this GPU: the module tensorrt"};
}

Json devices_json(const cuda::DeviceList& list) {
  Json devices = Json::array();
  for (const cuda::DeviceInfo& device : list.devices) {
    Json entry = device_json(device);
    entry["usable"] = runs_on(device);
    devices.push_back(std::move(entry));
  }
  return devices;
}

}  // namespace

std::string describe_json() {
  return Json{{"name", sdk::kName},
              {"display_name", sdk::kDisplayName},
              {"opens", {"plan"}},
              {"builds", true},
              {"kind", "gpu"},
              {"reference", false},
              {"precisions", Json::parse(sdk::kPrecisions)},
              {"compiled_against", sdk::kHeaderVersion}}
      .dump();
}

std::string supported_json() {
  // Loading the SDK and starting the driver take about as long as each other: at the same time.
  std::future<cuda::DeviceList> starting = std::async(std::launch::async, cuda::devices);
  const Library& found = library();
  const cuda::DeviceList list = starting.get();
  const Verdict verdict = judge(found, list);
  return Json{
      {"usable", verdict.usable},     {"can_build", verdict.can_build},
      {"reason", verdict.reason},     {"remedy", verdict.remedy},
      {"library", found.path},        {"version", found.path.empty() ? std::string() : version_text(found.version)},
      {"devices", devices_json(list)}}
      .dump();
}

}  // namespace ferry::nvinfer
