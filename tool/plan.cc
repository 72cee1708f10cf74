// Deciding who takes part, before anything is opened: pure, so that it can be tested.
#include <fmt/core.h>

#include <algorithm>
#include <iterator>

#include "ferry/error.h"
#include "lineup.h"
#include "text.h"

namespace ferry::tool {
namespace {

template <typename T>
bool contains(const std::vector<T>& list, const T& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// An engine that opens only weights can do nothing with an ONNX file.
bool takes_model(const BackendInfo& info, bool has_network) {
  return has_network || contains<std::string>(info.opens, "onnx") || contains<std::string>(info.opens, "plan");
}

std::string absence(const BackendInfo& info, const std::string& model) {
  std::string text = info.display_name + " was left out: " + info.reason;
  if (info.can_build)
    text += fmt::format(". For example: ferry build {} --backend {} --target 8.9 -o model.plan", shell_quoted(model),
                        info.name);
  return text;
}

std::vector<BackendInfo> chosen_by_name(const std::vector<BackendInfo>& known, const std::vector<std::string>& names) {
  std::vector<BackendInfo> chosen;
  for (const std::string& name : names)
    std::copy_if(known.begin(), known.end(), std::back_inserter(chosen), [&](const auto& b) { return b.name == name; });
  return chosen;
}

// Everything usable; on a machine with a GPU, engines that run only on the CPU stand aside.
std::vector<BackendInfo> chosen_by_default(const std::vector<BackendInfo>& known, const std::string& model, bool gpu,
                                           bool has_network, std::vector<std::string>& notes) {
  std::vector<BackendInfo> chosen;
  bool absent = false;
  for (const BackendInfo& info : known) {
    absent = absent || !info.usable;
    if (!info.usable) {
      notes.push_back(absence(info, model));
    } else if (!takes_model(info, has_network)) {
      notes.push_back(info.display_name + " was left out: it takes a checkpoint, and this is an ONNX file");
    } else if (gpu && !on_gpu(info)) {
      notes.push_back(
          fmt::format("{} runs on the CPU and was left out: --backends {} runs it", info.display_name, info.name));
    } else {
      chosen.push_back(info);
    }
  }
  if (absent) notes.push_back("ferry doctor says how to get what is missing");
  return chosen;
}

// Outputs need a referee. Where no measured engine is one, an engine on the CPU gives the expected outputs.
std::optional<BackendInfo> referee_for(const std::vector<BackendInfo>& known, const Plan& plan, bool has_network) {
  const auto can_judge = [&](const BackendInfo& info) {
    return info.usable && takes_model(info, has_network) && contains<std::string>(info.precisions, "fp32") &&
           (info.reference || contains<std::string>(info.opens, "onnx"));
  };
  if (contains<std::string>(plan.precisions, "fp32") &&
      std::any_of(plan.engines.begin(), plan.engines.end(), can_judge))
    return std::nullopt;
  const auto best =
      std::find_if(known.begin(), known.end(), [&](const BackendInfo& b) { return b.reference && can_judge(b); });
  if (best != known.end()) return *best;
  const auto any = std::find_if(known.begin(), known.end(), can_judge);
  return any == known.end() ? std::nullopt : std::optional(*any);
}

std::int64_t gpu_memory(const std::vector<BackendInfo>& engines) {
  std::int64_t bytes = 0;
  for (const BackendInfo& info : engines)
    for (const Device& device : info.devices)
      if (device.kind == "gpu") bytes = std::max(bytes, device.memory_bytes);
  return bytes;
}

std::vector<std::int64_t> default_batches(bool gpu, std::int64_t memory) {
  constexpr std::int64_t kEnoughFor128 = 6'000'000'000;
  if (!gpu) return {1, 8};
  return memory >= kEnoughFor128 ? std::vector<std::int64_t>{1, 8, 32, 128} : std::vector<std::int64_t>{1, 8, 32};
}

}  // namespace

bool on_gpu(const BackendInfo& info) {
  return std::any_of(info.devices.begin(), info.devices.end(), [](const Device& d) { return d.kind == "gpu"; });
}

Plan plan_of(const std::vector<BackendInfo>& known, const LineupOptions& options, bool has_network) {
  Plan plan;
  const bool gpu = std::any_of(known.begin(), known.end(), [](const BackendInfo& b) { return b.usable && on_gpu(b); });
  plan.engines = options.backends.empty() ? chosen_by_default(known, options.model, gpu, has_network, plan.notes)
                                          : chosen_by_name(known, options.backends);
  const bool only_plan = !options.plan.empty() && options.backends == std::vector<std::string>{kNoEngine};
  if (plan.engines.empty() && !only_plan)
    throw Error(Stage::kBackend, "", "no engine can run a network on this machine",
                "ferry doctor says what is missing and how to get it.");
  const bool measured_on_gpu = only_plan ? gpu : std::any_of(plan.engines.begin(), plan.engines.end(), on_gpu);
  plan.device_kind = measured_on_gpu ? "gpu" : "cpu";
  plan.precisions = options.precisions;
  if (plan.precisions.empty())
    plan.precisions = measured_on_gpu ? std::vector<std::string>{"fp32", "fp16"} : std::vector<std::string>{"fp32"};
  plan.batches = options.batches.empty() ? default_batches(measured_on_gpu, gpu_memory(plan.engines)) : options.batches;
  plan.referee = referee_for(known, plan, has_network);
  return plan;
}

std::vector<BatchProfile> profiles_for(std::vector<std::int64_t> batches) {
  std::sort(batches.begin(), batches.end());
  std::vector<BatchProfile> profiles;
  std::int64_t from = 1;
  for (const std::int64_t batch : batches) {
    if (batch < from) continue;
    profiles.push_back({from, batch, batch});
    from = batch + 1;
  }
  return profiles;
}

}  // namespace ferry::tool
