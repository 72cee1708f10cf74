#include "second_stream.h"

#include <algorithm>

#include "lane.h"

namespace {

using namespace plain;

class SecondStream {
 public:
  SecondStream(nvinfer1::ICudaEngine& engine, long batch, bool& first)
      : engine_(engine), batch_(batch), first_(first), lane_(engine, batch) {}

  void run() {
    print("nothing");
    context_.reset(engine_.createExecutionContext());
    if (context_ == nullptr) throw std::runtime_error("TensorRT gives no second context");
    print("createExecutionContext");
    CUDA_CALL(cuStreamCreate, &stream_, CU_STREAM_NON_BLOCKING);
    print("a second stream");
    bind_memory();
    print("memory, profile, shape, addresses");
    run_once(lane_.stream());
    print("enqueueV3 of the second context on the first's stream");
    graph_ = captured(stream_, [&] { enqueue(*context_, stream_); });
    print("its capture and instantiation on the second stream");
    CUDA_CALL(cuGraphUpload, graph_, stream_);
    CUDA_CALL(cuStreamSynchronize, stream_);
    print("cuGraphUpload to the second stream");
    CUDA_CALL(cuGraphLaunch, graph_, stream_);
    CUDA_CALL(cuStreamSynchronize, stream_);
    print("that graph launched there");
    run_once(stream_);
    print("enqueueV3 on the second stream");
    CUDA_CALL(cuGraphExecDestroy, graph_);
    context_.reset();
    print("the second context gone");
  }

 private:
  void bind_memory() {
    const Ports ports(engine_);
    CUdeviceptr in = 0, out = 0;  // go with the process
    CUDA_CALL(cuMemAlloc_v2, &in, bytes_of(engine_, ports.input, batch_));
    CUDA_CALL(cuMemAlloc_v2, &out, bytes_of(engine_, ports.output, batch_));
    bind(*context_, batch_, in, out, stream_);
    CUDA_CALL(cuStreamSynchronize, stream_);
  }
  void run_once(CUstream stream) {
    enqueue(*context_, stream);
    CUDA_CALL(cuStreamSynchronize, stream);
  }
  void print(const char* since) {
    std::vector<double> samples;
    for (const auto begin = Clock::now(); Clock::now() - begin < std::chrono::milliseconds(240);) {
      const double ms = lane_.device();
      if (Clock::now() - begin > std::chrono::milliseconds(80)) samples.push_back(ms);
    }
    std::sort(samples.begin(), samples.end());
    std::printf("%s\n {\"after\": \"%s\", \"batch\": %ld, \"median_ms\": %.5f, \"p99_ms\": %.5f, \"runs\": %zu}",
                first_ ? "" : ",", since, batch_, quantile(samples, 0.5), quantile(samples, 0.99), samples.size());
    first_ = false;
  }

  nvinfer1::ICudaEngine& engine_;
  long batch_;
  bool& first_;
  Lane lane_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  CUstream stream_ = nullptr;
  CUgraphExec graph_ = nullptr;
};

}  // namespace

void measure_second_stream(nvinfer1::ICudaEngine& engine, long batch, bool& first) {
  SecondStream(engine, batch, first).run();
}
