#include <chrono>

#include "openvino/engine.h"

namespace {

ov::Shape shape_at(const ov::Output<const ov::Node>& port, std::int64_t batch) {
  ov::PartialShape shape = port.get_partial_shape();
  if (shape.size() > 0) shape[0] = batch;
  return shape.to_shape();
}

/// One tensor for each port, kept if the last ones are large enough.
void grow(std::vector<ov::Tensor>& tensors, const std::vector<ov::Output<const ov::Node>>& ports, std::int64_t batch,
          void** pointers) {
  tensors.resize(ports.size());
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const ov::Shape shape = shape_at(ports[i], batch);
    const std::size_t bytes = ov::shape_size(shape) * ports[i].get_element_type().size();
    if (!tensors[i] || tensors[i].get_byte_size() < bytes) tensors[i] = ov::Tensor(ports[i].get_element_type(), shape);
    pointers[i] = tensors[i].data();
  }
}

}  // namespace

ferry_session::ferry_session(ov::CompiledModel& model)
    : request_(model.create_infer_request()), inputs_(model.inputs()), outputs_(model.outputs()) {
  bound_inputs_.resize(inputs_.size());
  bound_outputs_.resize(outputs_.size());
}

void ferry_session::staging(std::int64_t batch, void** inputs, void** outputs) {
  grow(staging_inputs_, inputs_, batch, inputs);
  grow(staging_outputs_, outputs_, batch, outputs);
}

void ferry_session::run(std::int64_t batch, const void* const* inputs, void* const* outputs) {
  const bool moved = batch != bound_batch_ || !std::equal(bound_inputs_.begin(), bound_inputs_.end(), inputs) ||
                     !std::equal(bound_outputs_.begin(), bound_outputs_.end(), outputs);
  if (moved) {
    bound_batch_ = 0;  // nothing is known to be bound until all of it is
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      request_.set_tensor(inputs_[i], ov::Tensor(inputs_[i].get_element_type(), shape_at(inputs_[i], batch),
                                                 const_cast<void*>(inputs[i])));
    for (std::size_t i = 0; i < outputs_.size(); ++i)
      request_.set_tensor(outputs_[i],
                          ov::Tensor(outputs_[i].get_element_type(), shape_at(outputs_[i], batch), outputs[i]));
    bound_inputs_.assign(inputs, inputs + inputs_.size());
    bound_outputs_.assign(outputs, outputs + outputs_.size());
    bound_batch_ = batch;
  }
  const auto begin = std::chrono::steady_clock::now();
  request_.infer();
  compute_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}
