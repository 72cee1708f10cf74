// A probe: one known question whose answer is known, asked of every engine before it is trusted.
#pragma once

#include <string>

#include "ferry/engine_file.h"

namespace ferry {

/// The input of a probe for an engine with this input port: [batch, ...], normal values from the seed.
Tensor probe_input(const Port& port, const Probe& probe);

/// The first row that an engine answers.
struct ProbeAnswer {
  std::vector<float> row;             // scores, or the probabilities of `classes`
  std::vector<std::int32_t> classes;  // with top-k
};
/// Asks an engine of this form. An engine of the default form (the reference, from the weights) is asked the same
/// question, normalised, and its scores become what the form's top-k would be.
ProbeAnswer probe_answer(const Engine& engine, const Probe& probe, const GraphForm& form);

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
  GraphForm form;
};
Probe make_probe(const Question& question, const Log& log);

/// What is wrong with an answer, in words; empty if nothing is.
std::string probe_failure(const ProbeAnswer& answer, const Probe& probe, const GraphForm& form);

}  // namespace ferry
