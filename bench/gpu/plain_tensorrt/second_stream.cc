#include "second_stream.h"

#include <algorithm>

#include "lane.h"

namespace {

using namespace plain;

class SecondStream {
 public:
  SecondStream(nvinfer1::ICudaEngine& engine, long batch, bool& first)
      : engine_(engine), batch_(batch), first_(first), lane_(engine, batch) {
    for (int i = 0; i < engine.getNbIOTensors(); ++i) {
      const char* name = engine.getIOTensorName(i);
      (engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT ? input_ : output_) = name;
    }
  }

  void run() {
    print("nothing");
    context_.reset(engine_.createExecutionContext());
    print("createExecutionContext");
    CUDA_CALL(cuStreamCreate, &stream_, CU_STREAM_NON_BLOCKING);
    print("a second stream");
    bind();
    print("memory, profile, shape, addresses");
    enqueue(lane_.stream());
    print("enqueueV3 of the second context on the first's stream");
    record();
    print("its capture and instantiation on the second stream");
    CUDA_CALL(cuGraphUpload, graph_, stream_);
    CUDA_CALL(cuStreamSynchronize, stream_);
    print("cuGraphUpload to the second stream");
    CUDA_CALL(cuGraphLaunch, graph_, stream_);
    CUDA_CALL(cuStreamSynchronize, stream_);
    print("that graph launched there");
    enqueue(stream_);
    print("enqueueV3 on the second stream");
    CUDA_CALL(cuGraphExecDestroy, graph_);
    context_.reset();
    print("the second context gone");
  }

 private:
  void bind() {
    CUdeviceptr in = 0, out = 0;  // go with the process
    CUDA_CALL(cuMemAlloc_v2, &in, bytes_of(engine_, input_, batch_));
    CUDA_CALL(cuMemAlloc_v2, &out, bytes_of(engine_, output_, batch_));
    nvinfer1::Dims dims = engine_.getTensorShape(input_);
    dims.d[0] = static_cast<int>(batch_);
    const bool ready = context_->setOptimizationProfileAsync(profile_for(engine_, input_, batch_), stream_) &&
                       context_->setInputShape(input_, dims) &&
                       context_->setTensorAddress(input_, reinterpret_cast<void*>(in)) &&
                       context_->setTensorAddress(output_, reinterpret_cast<void*>(out));
    if (!ready) throw std::runtime_error("TensorRT refuses the batch");
    CUDA_CALL(cuStreamSynchronize, stream_);
  }
  void enqueue(CUstream stream) {
    if (!context_->enqueueV3(stream)) throw std::runtime_error("enqueueV3 failed");
    CUDA_CALL(cuStreamSynchronize, stream);
  }
  void record() {
    CUgraph graph = nullptr;
    CUDA_CALL(cuStreamBeginCapture_v2, stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    if (!context_->enqueueV3(stream_)) throw std::runtime_error("enqueueV3 failed in a capture");
    CUDA_CALL(cuStreamEndCapture, stream_, &graph);
    CUDA_CALL(cuGraphInstantiateWithFlags, &graph_, graph, 0);
  }
  void print(const char* since) {
    std::vector<double> samples;
    for (const auto begin = Clock::now(); Clock::now() - begin < std::chrono::milliseconds(240);) {
      const double ms = lane_.device();
      if (Clock::now() - begin > std::chrono::milliseconds(80)) samples.push_back(ms);
    }
    std::sort(samples.begin(), samples.end());
    const auto at = [&](double share) { return samples[static_cast<std::size_t>(share * double(samples.size() - 1))]; };
    std::printf("%s\n {\"after\": \"%s\", \"batch\": %ld, \"median_ms\": %.5f, \"p99_ms\": %.5f, \"runs\": %zu}",
                first_ ? "" : ",", since, batch_, at(0.5), at(0.99), samples.size());
    first_ = false;
  }

  nvinfer1::ICudaEngine& engine_;
  long batch_;
  bool& first_;
  Lane lane_;
  const char *input_ = nullptr, *output_ = nullptr;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  CUstream stream_ = nullptr;
  CUgraphExec graph_ = nullptr;
};

}  // namespace

void measure_second_stream(nvinfer1::ICudaEngine& engine, long batch, bool& first) {
  SecondStream(engine, batch, first).run();
}
