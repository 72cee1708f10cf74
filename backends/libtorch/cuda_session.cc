// Runs on a GPU: its own stream, pinned staging, times between events on the stream. Built only with a torch that has
// CUDA. Everything but the graph goes through ATen and c10, so that no CUDA library is linked here by itself.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>
#include <cstring>
#include <map>
#include <mutex>

#include "cuda_support/devices.h"
#include "cuda_support/nvml.h"
#include "libtorch/engine.h"

namespace ferry::libtorch {
namespace {

using module::Failure;
using Clock = std::chrono::steady_clock;

/// Pinned host memory for one request, large enough for the largest batch so far.
struct HostBuffers {
  at::Tensor input, output;

  void grow(const ferry_engine& engine, std::int64_t batch) {
    if (input.defined() && input.size(0) >= batch) return;
    const at::TensorOptions pinned = at::TensorOptions().dtype(at::kFloat).pinned_memory(true);
    input = at::empty(engine.input_shape(batch), pinned);
    output = at::empty(engine.output_shape(batch), pinned);
  }
  bool holds(const void* in, std::int64_t batch) const {
    return input.defined() && input.size(0) >= batch && in == input.const_data_ptr();
  }
};

/// What stays on the device for one batch size.
struct Lane {
  at::Tensor input, output;
  std::unique_ptr<at::cuda::CUDAGraph> graph;
  bool filled = false;  // `input` holds the inputs of a run
};

class CudaSession : public ferry_session {
 public:
  explicit CudaSession(const ferry_engine& engine)
      : engine_(engine),
        stream_(c10::impl::VirtualGuardImpl(at::kCUDA).getStreamFromGlobalPool(engine.placement.device)) {}

  ~CudaSession() override {
    try {
      if (running_) done_.synchronize();  // the device still writes into this session's memory
    } catch (const std::exception&) {
      // The device is lost; its memory goes with it.
      running_ = false;
    }
  }

  void staging(std::int64_t batch, void** inputs, void** outputs) override {
    const c10::InferenceMode no_gradients;
    staging_.grow(engine_, batch);
    inputs[0] = staging_.input.mutable_data_ptr();
    outputs[0] = staging_.output.mutable_data_ptr();
  }

  void submit(const ferry_run_args& args) override {
    if (running_) throw Failure("", "the session already has a request under way");
    const bool resident = (args.flags & FERRY_RUN_RESIDENT) != 0;
    const bool fetch = !resident || (args.flags & FERRY_RUN_FETCH) != 0;
    const c10::InferenceMode no_gradients;
    const c10::StreamGuard guard(stream_);
    Lane& lane = ready_lane(args.batch, resident);
    const Clock::time_point begin = Clock::now();
    start_.record(stream_);
    if (!resident) {
      lane.input.copy_(host_input(args), /*non_blocking=*/true);
      lane.filled = true;
    }
    copied_.record(stream_);
    compute(lane);
    computed_.record(stream_);
    host_output_ = at::Tensor();
    if (fetch) {
      host_output_ = output_for(args);
      host_output_.copy_(lane.output, /*non_blocking=*/true);
      destination_ = args.outputs[0];
    }
    done_.record(stream_);
    times_.enqueue_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    running_ = true;
  }

  ferry_times wait() override {
    if (!running_) throw Failure("", "there is no request to wait for");
    running_ = false;
    done_.synchronize();
    if (host_output_.defined() && host_output_.const_data_ptr() != destination_)
      std::memcpy(destination_, host_output_.const_data_ptr(), host_output_.nbytes());
    times_.h2d_ms = start_.elapsedTime(copied_);
    times_.compute_ms = copied_.elapsedTime(computed_);
    times_.d2h_ms = computed_.elapsedTime(done_);
    return times_;
  }

 private:
  /// The lane of a batch size, with its graph captured if that was asked for.
  Lane& ready_lane(std::int64_t batch, bool resident) {
    Lane& lane = lanes_[batch];
    if (resident && !lane.filled)
      throw Failure("", "a resident run repeats the last run at its batch, and there was none");
    if (!lane.input.defined()) lane.input = at::zeros(engine_.input_shape(batch), engine_.placement.device);
    if (engine_.options.capture && !lane.graph) capture(lane);
    return lane;
  }

  void compute(Lane& lane) {
    if (lane.graph) {
      lane.graph->replay();
    } else {
      lane.output = engine_.network.forward(lane.input);
    }
  }

  /// Records one forward pass. cuDNN chooses its algorithms in the runs before, which a capture does not allow.
  void capture(Lane& lane) {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    for (int i = 0; i < 3; ++i) lane.output = engine_.network.forward(lane.input);
    c10::impl::VirtualGuardImpl(at::kCUDA).synchronizeDevice(engine_.placement.device.index());
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      lane.output = engine_.network.forward(lane.input);
    } catch (...) {
      try {
        graph->capture_end();  // takes the stream out of capture mode; what it says is worth less than the first error
      } catch (const std::exception& e) {
        module::log(engine_.log, 1, e.what());
      }
      throw;
    }
    graph->capture_end();
    lane.graph = std::move(graph);
  }

  /// The pinned tensor to copy from: the staging memory itself, or a bounce buffer filled from the caller's memory.
  at::Tensor host_input(const ferry_run_args& args) {
    if (staging_.holds(args.inputs[0], args.batch)) return staging_.input.narrow(0, 0, args.batch);
    bounce_.grow(engine_, args.batch);
    at::Tensor input = bounce_.input.narrow(0, 0, args.batch);
    std::memcpy(input.mutable_data_ptr(), args.inputs[0], input.nbytes());
    return input;
  }

  at::Tensor output_for(const ferry_run_args& args) {
    const bool staged = staging_.output.defined() && staging_.output.size(0) >= args.batch &&
                        args.outputs[0] == staging_.output.const_data_ptr();
    if (staged) return staging_.output.narrow(0, 0, args.batch);
    bounce_.grow(engine_, args.batch);
    return bounce_.output.narrow(0, 0, args.batch);
  }

  const ferry_engine& engine_;
  c10::Stream stream_;
  c10::Event start_{at::kCUDA, c10::EventFlag::BACKEND_DEFAULT}, copied_{at::kCUDA, c10::EventFlag::BACKEND_DEFAULT},
      computed_{at::kCUDA, c10::EventFlag::BACKEND_DEFAULT}, done_{at::kCUDA, c10::EventFlag::BACKEND_DEFAULT};
  HostBuffers staging_, bounce_;
  std::map<std::int64_t, Lane> lanes_;
  at::Tensor host_output_;  // pinned, of the request under way; undefined if nothing is fetched
  void* destination_ = nullptr;
  ferry_times times_{};
  bool running_ = false;
};

const std::vector<cuda::DeviceInfo>& gpus() {
  static const std::vector<cuda::DeviceInfo> all = cuda::devices().devices;
  return all;
}

}  // namespace

void prepare_cuda(int device) {
  if (!at::hasCUDA())
    throw Failure(
        "", "there is a GPU, but PyTorch's CUDA does not start on it",
        "Compare the driver (ferry doctor) with what this PyTorch needs, or install a PyTorch for an older CUDA.",
        FERRY_UNSUPPORTED);
  const int count = c10::impl::VirtualGuardImpl(at::kCUDA).deviceCount();
  if (device < 0 || device >= count)
    throw Failure("device", "GPU " + std::to_string(device) + " was asked for; PyTorch sees " + std::to_string(count),
                  "See ferry doctor.", FERRY_UNSUPPORTED);
  at::Context& context = at::globalContext();
  context.setBenchmarkCuDNN(true);
  context.setAllowTF32CuDNN(false);
  context.setAllowTF32CuBLAS(false);
}

nlohmann::json describe_gpu(int device) {
  const cuda::DeviceInfo& d = gpus().at(static_cast<std::size_t>(device));
  return {{"kind", "gpu"},
          {"index", d.index},
          {"name", d.name},
          {"compute_capability", d.compute_capability()},
          {"memory_bytes", d.memory_bytes},
          {"driver", d.driver},
          {"cuda", d.cuda}};
}

ferry_telemetry gpu_telemetry(int device) {
  static std::mutex mutex;
  static std::map<int, cuda::NvmlDevice> opened;
  const std::lock_guard lock(mutex);
  const auto card = opened.try_emplace(device, gpus().at(static_cast<std::size_t>(device)).uuid).first;
  const cuda::Telemetry now = card->second.now();
  return {now.sm_clock_mhz,      now.memory_clock_mhz,   now.temperature_c,   now.power_w,
          now.memory_used_bytes, now.memory_total_bytes, now.throttle_reasons};
}

std::unique_ptr<ferry_session> make_cuda_session(const ferry_engine& engine) {
  return std::make_unique<CudaSession>(engine);
}

}  // namespace ferry::libtorch
