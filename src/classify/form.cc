#include "classify/form.h"

#include <fmt/format.h>

#include <algorithm>

#include "ferry/error.h"

namespace ferry {
namespace {

bool is_float(DType type) { return type == DType::kFloat32 || type == DType::kFloat16; }
bool is_index(DType type) { return type == DType::kInt64 || type == DType::kInt32; }

std::string described(const Port& port) { return fmt::format("{} {}", name_of(port.dtype), to_string(port.shape)); }

void read_input(const EngineInfo& info, EngineForm& form) {
  const auto refuse = [&](const std::string& what) {
    throw Error(Stage::kOpen, info.backend_display_name, "this is no classifier of pictures: " + what);
  };
  if (info.inputs.size() != 1) refuse(fmt::format("it has {} inputs", info.inputs.size()));
  const Port& port = info.inputs[0];
  const Shape& s = port.shape;
  const bool planes = s.size() == 4 && s[1] == 3 && s[2] == s[3], last = s.size() == 4 && s[3] == 3 && s[1] == s[2];
  const bool fits = (planes || last) && s[2] > 0 && (is_float(port.dtype) || port.dtype == DType::kUInt8);
  if (!fits) refuse("its input is " + described(port));
  form.input = port.dtype;
  form.channels_last = !planes;
  form.crop = static_cast<int>(s[2]);
  form.input_bytes = static_cast<std::size_t>(s[1] * s[2] * s[3]) * size_of(port.dtype);
}

bool is_row(const Port& port) { return port.shape.size() == 2 && port.shape[1] > 0; }

void read_outputs(const EngineInfo& info, EngineForm& form) {
  const auto& out = info.outputs;
  for (std::size_t i = 0; i < out.size() && out.size() <= 2; ++i) {
    if (!is_row(out[i]) || !is_float(out[i].dtype)) continue;
    form.scores = out[i].dtype;
    form.classes = out[i].shape[1];
    form.scores_output = i;
    if (out.size() == 1) return;
    const Port& other = out[1 - i];
    if (!is_row(other) || !is_index(other.dtype) || other.shape[1] != form.classes) continue;
    form.top_k = true;
    form.indices_output = 1 - i;
    form.index_type = other.dtype;
    return;
  }
  std::string ports;
  for (const Port& port : out) ports += fmt::format("{}'{}' {}", ports.empty() ? "" : ", ", port.name, described(port));
  throw Error(Stage::kOpen, info.backend_display_name, "this is no classifier of pictures: its outputs are " + ports,
              "One row of scores a picture is needed, or scores and class numbers of the best few.");
}

}  // namespace

EngineForm form_of(const EngineInfo& info) {
  EngineForm form;
  read_input(info, form);
  read_outputs(info, form);
  return form;
}

void check_crop(const EngineForm& form, const Preprocessing& preset) {
  if (form.crop == preset.crop) return;
  throw Error(Stage::kUsage, preset.name,
              fmt::format("crops {0}x{0} pixels; the engine takes {1}x{1}", preset.crop, form.crop),
              fmt::format("Say how to prepare pictures: --resize {} --crop {}", form.crop * 256 / 224, form.crop));
}

std::int64_t good_batch(const EngineInfo& info) {
  const std::int64_t wanted = info.device.kind == "gpu" ? 64 : 4;
  if (!info.inputs.empty() && !info.inputs[0].shape.empty() && info.inputs[0].shape[0] > 0)
    return info.inputs[0].shape[0];  // the only one there is
  if (info.profiles.empty()) return info.max_batch ? std::min(wanted, *info.max_batch) : wanted;
  const auto by_max = [](const BatchProfile& a, const BatchProfile& b) { return a.max < b.max; };
  const BatchProfile& largest = *std::max_element(info.profiles.begin(), info.profiles.end(), by_max);
  return std::clamp(wanted, largest.min, std::max(largest.opt, std::min(wanted, largest.max)));
}

std::int64_t batch_for(const EngineInfo& info, std::int64_t count) {
  if (info.profiles.empty()) {
    const std::int64_t only = info.inputs.empty() || info.inputs[0].shape.empty() ? -1 : info.inputs[0].shape[0];
    const std::int64_t most = only > 0 ? only : info.max_batch.value_or(count);
    if (count <= most) return only > 0 ? only : count;
    throw Error(Stage::kUsage, info.backend_display_name,
                fmt::format("a batch of {} was asked for; this engine takes at most {}", count, most));
  }
  std::int64_t best = 0, largest = 0;
  for (const BatchProfile& profile : info.profiles) {
    largest = std::max(largest, profile.max);
    if (profile.max < count) continue;
    const std::int64_t batch = std::max(profile.min, count);
    if (best == 0 || batch < best) best = batch;
  }
  if (best > 0) return best;
  throw Error(Stage::kUsage, info.backend_display_name,
              fmt::format("a batch of {} was asked for; this engine takes at most {}", count, largest),
              "Build an engine with a wider range: ferry build --batch min:opt:max");
}

}  // namespace ferry
