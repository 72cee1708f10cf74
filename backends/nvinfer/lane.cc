#include "nvinfer/lane.h"

#include "cuda_support/error.h"
#include "nvinfer/failure.h"

namespace ferry::nvinfer {
namespace {

std::vector<void*> grow(std::vector<cuda::DeviceBuffer>& buffers, const std::vector<Port>& ports, std::int64_t batch) {
  buffers.resize(ports.size());
  std::vector<void*> addresses;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::size_t size = ports[i].row_bytes * static_cast<std::size_t>(batch);
    if (buffers[i].size() < size) {
      buffers[i] = cuda::DeviceBuffer();  // freed before the larger one is asked for
      buffers[i] = cuda::DeviceBuffer(size);
    }
    addresses.push_back(buffers[i].data());
  }
  return addresses;
}

}  // namespace

void Lane::bind(const Network& network, std::int64_t batch, const cuda::Stream& stream) {
  whole_ = Recording();
  compute_ = Recording();
  quick_ = Recording();
  has_inputs_ = has_run_ = false;
  batch_ = 0;  // of no use until all of this has worked
  const auto inputs = grow(inputs_, network.inputs(), batch);
  const auto outputs = grow(outputs_, network.outputs(), batch);
  executor_->bind(pick_profile(network.profiles(), batch), batch, inputs, outputs, stream.handle());
  batch_ = batch;
}

void Lane::lend(const Network& network, Executor& other, const cuda::Stream& stream) const {
  const auto addresses = [](const std::vector<cuda::DeviceBuffer>& buffers) {
    std::vector<void*> all;
    all.reserve(buffers.size());
    for (const cuda::DeviceBuffer& buffer : buffers) all.push_back(buffer.data());
    return all;
  };
  other.bind(pick_profile(network.profiles(), batch_), batch_, addresses(inputs_), addresses(outputs_),
             stream.handle());
}

void Lane::fetch(const Network& network, const Staging& staging, const cuda::Stream& stream) const {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const std::size_t size = network.outputs()[i].row_bytes * static_cast<std::size_t>(batch_);
    cuda::copy_to_host(staging.output(i), outputs_[i].data(), size, stream.handle());
  }
}

// Work is captured before any of it has run. Kernels that are launched one by one on a second stream of a process make
// every graph launched in that process from then on slower, by 0.35 us a kernel (an H200; docs/benchmarks/log.md). An
// SDK that has something to do in a first run refuses, and is asked again behind that run. A refused capture is not a
// failed request: the work is enqueued call by call then, and the session warns.
template <typename Enqueue>
void Lane::capture(Recording& recording, const cuda::Stream& stream, const Enqueue& enqueue) {
  if (recording.graph || recording.refused) return;
  std::string refusal = "the SDK says that this network cannot be captured";
  try {
    if (executor_->capturable(stream.handle())) {
      recording.graph = cuda::GraphExec::capture(stream, enqueue);
      return;
    }
  } catch (const cuda::Error& error) {
    if (error.sticky()) throw;
    refusal = error.what();
  } catch (const Failure& failure) {
    refusal = failure.cause;
  }
  recording.refused = has_run_;
  (has_run_ ? refusal_ : delay_) = refusal;
}

void Lane::compute_and_fetch(const Network& network, const Staging& staging, const cuda::Stream& stream,
                             const Marks* marks, void (cuda::Event::*record)(const cuda::Stream&) const) {
  executor_->enqueue(stream.handle());
  if (marks != nullptr) (marks->computed.*record)(stream);
  fetch(network, staging, stream);
  if (marks != nullptr) (marks->end.*record)(stream);
}

void Lane::run(const Network& network, const Staging& staging, const void* const* inputs, Uploader& uploader,
               const cuda::Stream& stream, const Marks* marks, bool graphs) {
  const auto upload = [&] {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const std::size_t size = network.inputs()[i].row_bytes * static_cast<std::size_t>(batch_);
      uploader.upload(inputs_[i].data(), staging.input(i), inputs[i], size, stream);
    }
  };
  run_after(upload, network, staging, stream, marks, graphs);
}

void Lane::enqueue_quick(const Network& network, const Staging& staging, Quick& quick, const cuda::Stream& stream) {
  const auto bytes = [&](const Port& port) { return port.row_bytes * static_cast<std::size_t>(batch_); };
  fetch_.job.from = static_cast<const unsigned char*>(staging.input(0));
  fetch_.job.to = static_cast<unsigned char*>(inputs_[0].data());
  fetch_.job.bytes = bytes(network.inputs()[0]);
  fetch_.job.chunk = static_cast<std::uint32_t>(quick_chunk(fetch_.job.bytes));
  answer_.job.count = static_cast<int>(outputs_.size());
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    answer_.job.from[i] = static_cast<const unsigned char*>(outputs_[i].data());
    answer_.job.to[i] = static_cast<unsigned char*>(staging.output(i));
    answer_.job.bytes[i] = static_cast<std::uint32_t>(bytes(network.outputs()[i]));
  }
  quick.enqueue(fetch_, stream);
  executor_->enqueue(stream.handle());
  quick.enqueue(answer_, stream);
}

bool Lane::run_quick(const Network& network, const Staging& staging, const void* input, Uploader& uploader,
                     Quick& quick, const cuda::Stream& stream) {
  capture(quick_, stream, [&] { enqueue_quick(network, staging, quick, stream); });
  if (!quick_.graph) return false;
  quick.arm();
  uploader.share(staging.input(0), input, fetch_.job.bytes, {quick.ready(), fetch_.job.chunk},
                 [&] { quick_.graph.launch(stream); });
  has_run_ = has_inputs_ = true;
  return true;
}

void Lane::run_prepared(const std::function<void(void* input)>& prepare, const Network& network, const Staging& staging,
                        const cuda::Stream& stream, const Marks* marks, bool graphs) {
  run_after([&] { prepare(inputs_.front().data()); }, network, staging, stream, marks, graphs);
}

template <typename Fill>
void Lane::run_after(const Fill& fill, const Network& network, const Staging& staging, const cuda::Stream& stream,
                     const Marks* marks, bool graphs) {
  if (graphs)
    capture(whole_, stream, [&] { compute_and_fetch(network, staging, stream, marks, &cuda::Event::record_in_graph); });
  if (marks != nullptr) marks->begin.record(stream);
  fill();
  if (marks != nullptr) marks->uploaded.record(stream);
  if (whole_.graph) {
    whole_.graph.launch(stream);
  } else {
    compute_and_fetch(network, staging, stream, marks, &cuda::Event::record);
  }
  has_run_ = has_inputs_ = true;
}

void Lane::run_resident(const cuda::Stream& stream, const Marks* marks, bool graphs) {
  if (graphs) capture(compute_, stream, [&] { executor_->enqueue(stream.handle()); });
  if (marks != nullptr) marks->uploaded.record(stream);
  if (compute_.graph) {
    compute_.graph.launch(stream);
  } else {
    executor_->enqueue(stream.handle());
  }
  if (marks != nullptr) marks->computed.record(stream);
}

}  // namespace ferry::nvinfer
