#include "plan_text.h"

#include <fmt/core.h>

#include "context.h"
#include "text.h"

namespace ferry::tool {
namespace {

// Of a plan built for weight streaming; empty for others.
std::string streaming_text(const Sidecar& sidecar) {
  const Json report = Json::parse(sidecar.build_report_json, nullptr, false);
  const auto bytes = report.is_object() ? report.value("streamable_weights_bytes", 0.0) : 0;
  if (!(bytes > 0)) return {};
  return fmt::format("{} of weights may stay in host memory (--weight-budget MB where it is opened)",
                     human_bytes(bytes));
}

}  // namespace

std::string ports_text(const std::vector<Port>& ports) {
  std::string text;
  for (const Port& port : ports)
    text += fmt::format("{}{} {} [{}]", text.empty() ? "" : ", ", printable(port.name), ferry::name_of(port.dtype),
                        to_string(port.shape));
  return text;
}

std::string proof_text(const Sidecar& sidecar) {
  if (sidecar.precision_proof_due) return "due at the first open on the GPU (built where it cannot be opened)";
  const Json proof = Json::parse(sidecar.precision_proof_json, nullptr, false);
  if (!proof.is_object()) return "none: this engine cannot tell its layers' types";
  std::string text;
  const Json types = proof.value("by_type", Json::object());
  for (const auto& [type, count] : types.items())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count.dump(), printable(type));
  return fmt::format("{} layers: {}", proof.value("layers", 0), text);
}

std::string profiles_text(const std::vector<BatchProfile>& profiles) {
  std::string text;
  for (const BatchProfile& profile : profiles) text += (text.empty() ? "" : ", ") + to_string(profile);
  return text.empty() ? "any batch" : "batch " + text + "  (smallest:best:largest)";
}

Rows plan_rows(const Sidecar& sidecar) {
  const std::string gpu = sidecar.gpu.empty() ? "every GPU" : printable(sidecar.gpu);
  Rows rows = {{"engine", fmt::format("{} {} ({})", sidecar.sdk, sidecar.sdk_version, sidecar.backend)},
               {"for", gpu + (sidecar.compute_capability.empty()
                                  ? ""
                                  : " of compute capability " + printable(sidecar.compute_capability))},
               {"precision", printable(sidecar.precision)},
               {"proof", proof_text(sidecar)},
               {"profile", profiles_text(sidecar.profiles)},
               {"input", ports_text(sidecar.inputs)},
               {"output", ports_text(sidecar.outputs)},
               {"weights", printable(sidecar.origin)}};
  if (const std::string text = streaming_text(sidecar); !text.empty()) rows.emplace_back("streaming", text);
  if (!is_default(sidecar.form)) rows.emplace_back("form", to_string(sidecar.form));
  if (!sidecar.probe) return rows;
  const Probe& probe = *sidecar.probe;
  rows.emplace_back("probe", probe.referee.empty()
                                 ? "none: no referee was there when it was built"
                                 : fmt::format("{} values by {}, checked at every load (tolerance {:g})",
                                               probe.expected.size(), probe.referee, probe.tolerance));
  return rows;
}

}  // namespace ferry::tool
