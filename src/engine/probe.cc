#include "engine/probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ferry/compare.h"
#include "ferry/error.h"
#include "ferry/image.h"

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

// What a network of the default form is asked where the built engine gets pixels: the same picture.
Tensor normalised_probe(const Port& port, const Probe& probe, const GraphForm& form) {
  Port pixels{port.name, DType::kUInt8, port.shape};
  for (std::size_t i = 1; i < pixels.shape.size(); ++i)
    if (pixels.shape[i] < 0) pixels.shape[i] = i == 1 ? 3 : kDefaultSize;
  if (form.input == InputForm::kUint8Nhwc && pixels.shape.size() == 4)
    std::rotate(pixels.shape.begin() + 1, pixels.shape.begin() + 2, pixels.shape.end());
  return normalise_pixels(probe_input(pixels, probe).view(), form);
}

template <typename T>
std::vector<T> row_of(const Tensor& tensor) {
  const auto* first = reinterpret_cast<const T*>(tensor.data());
  return {first, first + tensor.elements() / std::max<std::int64_t>(1, tensor.shape()[0])};
}

std::vector<float> first_row(const Tensor& floats) { return row_of<float>(floats); }

ProbeAnswer best_of(const std::vector<float>& scores, int k) {
  ProbeAnswer answer;
  for (const ClassScore& best : top_k(scores, k, true)) {
    answer.row.push_back(best.score);
    answer.classes.push_back(best.index);
  }
  return answer;
}

ProbeAnswer with_classes(ProbeAnswer answer, const std::vector<Tensor>& outputs) {
  if (outputs.size() != 2 || outputs[1].dtype() != DType::kInt32)
    throw Error(Stage::kOpen, "engine", "its outputs are not the probabilities and classes that its form promises");
  answer.classes = row_of<std::int32_t>(outputs[1]);
  return answer;
}

TopKView top_k_view(const std::vector<float>& row, const std::vector<std::int32_t>& classes, const GraphForm& form) {
  const TensorView numbers{DType::kInt32,
                           {1, static_cast<std::int64_t>(classes.size())},
                           reinterpret_cast<const std::byte*>(classes.data())};
  return {row_view(row), numbers, form.classes};
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

ProbeAnswer probe_answer(const Engine& engine, const Probe& probe, const GraphForm& form) {
  const EngineInfo& info = engine.info();
  if (info.inputs.size() != 1 || info.outputs.empty())
    throw Error(Stage::kOpen, info.backend_display_name,
                fmt::format("the engine has {} inputs and {} outputs; ferry runs engines with one image input",
                            info.inputs.size(), info.outputs.size()));
  const bool pixels_wanted = form.input != InputForm::kFloat && info.inputs[0].dtype != DType::kUInt8;
  const Tensor input =
      pixels_wanted ? normalised_probe(info.inputs[0], probe, form) : probe_input(info.inputs[0], probe);
  const std::vector<Tensor> outputs = engine.new_session().run(std::vector<TensorView>{input.view()});
  for (const Tensor& output : outputs)
    if (output.shape().empty() || output.shape()[0] != probe.batch)
      throw Error(Stage::kOpen, info.backend_display_name,
                  fmt::format("the engine answered {} images with an output of shape {}", probe.batch,
                              to_string(output.shape())));
  ProbeAnswer answer;
  answer.row = first_row(convert(outputs[0].view(), DType::kFloat32));
  if (form.top_k == 0) return answer;
  return outputs.size() == 1 ? best_of(answer.row, form.top_k) : with_classes(std::move(answer), outputs);
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
      const ProbeAnswer answer = probe_answer(referee.open(), asked, question.form);
      if (!finite(answer.row) || !has_values(answer.row))
        throw Error(Stage::kBuild, referee.name, "its answer is not usable");
      probe.expected = answer.row;
      probe.expected_classes = answer.classes;
      probe.referee = referee.name;
      return probe;
    } catch (const Error& error) {
      if (log) log(1, fmt::format("{} cannot be the referee of the probe: {}", referee.name, error.cause()));
    }
  }
  return probe;
}

std::string probe_failure(const ProbeAnswer& answer, const Probe& probe, const GraphForm& form) {
  if (!finite(answer.row)) return "the engine answers the probe with NaN or Inf";
  if (!has_values(answer.row)) return "the engine answers the probe with zeros only";
  if (probe.expected.empty()) return {};
  const Tolerance tolerance{probe.tolerance, 0};
  const Agreement agreement = form.top_k > 0
                                  ? compare_top_k(top_k_view(answer.row, answer.classes, form),
                                                  top_k_view(probe.expected, probe.expected_classes, form), tolerance)
                                  : compare_outputs(row_view(answer.row), row_view(probe.expected), tolerance);
  if (agreement.ok) return {};
  return fmt::format("the engine answers the probe with something else than {}: {}", probe.referee, agreement.failure);
}

}  // namespace ferry
