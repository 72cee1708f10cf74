#include "engine/probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ferry/compare.h"
#include "ferry/error.h"

namespace ferry {
namespace {

constexpr std::int64_t kDefaultSize = 224;  // for a dynamic height or width

bool opens(const BackendInfo& info, const char* what) {
  return std::find(info.opens.begin(), info.opens.end(), what) != info.opens.end();
}

TensorView row_view(const std::vector<float>& row) {
  return {DType::kFloat32, {1, static_cast<std::int64_t>(row.size())}, reinterpret_cast<const std::byte*>(row.data())};
}

// Images as bytes are centred like images: 128 and 64 around it.
Tensor as_bytes(const Tensor& normal) {
  Tensor bytes(DType::kUInt8, normal.shape());
  const auto values = normal.floats();
  for (std::size_t i = 0; i < values.size(); ++i)
    bytes.data()[i] = static_cast<std::byte>(std::clamp(128.0f + 64.0f * values[i], 0.0f, 255.0f));
  return bytes;
}

struct Referee {
  std::string name;
  std::function<Engine()> open;
  std::int64_t batch = 1;  // the first image of a probe does not depend on the batch: one is enough
};

std::vector<Referee> referees(const Question& q, const std::vector<BackendInfo>& known, std::int64_t batch) {
  std::vector<Referee> list;
  OpenOptions options;
  options.prefer_cpu = true;
  for (const BackendInfo& info : known) {
    if (!info.usable || info.name == q.backend || !opens(info, "onnx")) continue;
    list.push_back(
        {info.display_name, [&q, info, options] { return Backend::load(info.name).open_onnx(q.onnx, options); }});
  }
  for (const BackendInfo& info : known) {
    if (!info.usable || !info.reference || !opens(info, "weights") || !q.network || q.precision == "int8") continue;
    list.push_back({info.display_name,
                    [&q, info, options] { return Backend::load(info.name).open_weights(q.network(), options); }});
  }
  if (q.built != nullptr) list.push_back({"the built engine itself", [&q] { return *q.built; }, batch});
  return list;
}

bool finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

bool has_values(const std::vector<float>& values) {
  return std::any_of(values.begin(), values.end(), [](float v) { return v != 0; });
}

}  // namespace

Tensor probe_input(const Port& port, const Probe& probe) {
  Shape shape = port.shape;
  if (shape.empty()) throw Error(Stage::kOpen, port.name, "the engine's input has no batch dimension");
  for (std::size_t i = 1; i < shape.size(); ++i)
    if (shape[i] < 0) shape[i] = i == 1 ? 3 : kDefaultSize;
  shape[0] = probe.batch;
  Tensor normal = Tensor::random_normal(shape, probe.seed);
  return port.dtype == DType::kUInt8 ? as_bytes(normal) : convert(normal.view(), port.dtype);
}

std::vector<float> probe_answer(const Engine& engine, const Probe& probe) {
  const EngineInfo& info = engine.info();
  if (info.inputs.size() != 1 || info.outputs.empty())
    throw Error(Stage::kOpen, info.backend_display_name,
                fmt::format("the engine has {} inputs and {} outputs; ferry runs engines with one image input",
                            info.inputs.size(), info.outputs.size()));
  const Tensor input = probe_input(info.inputs[0], probe);
  const std::vector<Tensor> outputs = engine.new_session().run(std::vector<TensorView>{input.view()});
  const Tensor& output = outputs.at(0);
  const Tensor floats = convert(output.view(), DType::kFloat32);
  if (output.shape().empty() || output.shape()[0] != probe.batch)
    throw Error(Stage::kOpen, info.backend_display_name,
                fmt::format("the engine answered {} images with an output of shape {}", probe.batch,
                            to_string(output.shape())));
  const std::size_t columns = floats.floats().size() / static_cast<std::size_t>(probe.batch);
  return {floats.floats().begin(), floats.floats().begin() + static_cast<std::ptrdiff_t>(columns)};
}

Probe make_probe(const Question& question, const Log& log) {
  Probe probe;
  probe.batch = question.profiles.empty() ? 1 : question.profiles.front().min;
  // TF32 keeps ten bits of the fraction, as FP16 does.
  probe.tolerance =
      tolerance_for(question.tf32 && question.precision == "fp32" ? "fp16" : question.precision).relative_error;
  // A module for tests is not in the list: it runs no real network, so no other engine can judge it.
  std::vector<BackendInfo> known = Backend::list();
  const bool listed =
      std::any_of(known.begin(), known.end(), [&](const auto& b) { return b.name == question.backend; });
  if (!listed) known.clear();
  for (const Referee& referee : referees(question, known, probe.batch)) {
    try {
      Probe asked = probe;
      asked.batch = referee.batch;
      const std::vector<float> row = probe_answer(referee.open(), asked);
      if (!finite(row) || !has_values(row)) throw Error(Stage::kBuild, referee.name, "its answer is not usable");
      probe.expected = row;
      probe.referee = referee.name;
      return probe;
    } catch (const Error& error) {
      if (log) log(1, fmt::format("{} cannot be the referee of the probe: {}", referee.name, error.cause()));
    }
  }
  return probe;
}

std::string probe_failure(const std::vector<float>& answer, const Probe& probe) {
  if (!finite(answer)) return "the engine answers the probe with NaN or Inf";
  if (!has_values(answer)) return "the engine answers the probe with zeros only";
  if (probe.expected.empty()) return {};
  const Agreement agreement =
      compare_outputs(row_view(answer), row_view(probe.expected), Tolerance{probe.tolerance, 0});
  if (agreement.ok) return {};
  return fmt::format("the engine answers the probe with something else than {}: {}", probe.referee, agreement.failure);
}

}  // namespace ferry
