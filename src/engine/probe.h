// A probe: one known question whose answer is known, asked of every engine before it is trusted.
#pragma once

#include <string>

#include "ferry/engine_file.h"

namespace ferry {

/// The input of a probe for an engine with this input port: [batch, ...], normal values from the seed.
Tensor probe_input(const Port& port, const Probe& probe);

/// The first row that an engine answers to the probe, as float32.
std::vector<float> probe_answer(const Engine& engine, const Probe& probe);

/// Makes a probe for a built plan: the answer of a referee, in order of preference an engine that reads ONNX on the
/// CPU, the reference backend over the network's weights, or the engine itself (`built`, may be nullptr). Without any,
/// a probe with no expected row, which still finds NaN and zeros. Referees that fail are passed over, told to `log`.
struct Question {
  const std::string& onnx;                 // bytes
  std::function<const ResNet&()> network;  // may be empty
  const Engine* built;                     // may be nullptr
  std::string precision, backend;
  std::vector<BatchProfile> profiles;
  bool tf32 = false;
};
Probe make_probe(const Question& question, const Log& log);

/// What is wrong with an answer, in words; empty if nothing is.
std::string probe_failure(const std::vector<float>& answer, const Probe& probe);

}  // namespace ferry
