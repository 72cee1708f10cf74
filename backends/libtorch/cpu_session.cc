// Runs in the caller's thread and memory.
#include <ATen/Parallel.h>

#include <chrono>
#include <cstring>

#include "libtorch/engine.h"

namespace ferry::libtorch {
namespace {

using module::Failure;

class CpuSession : public ferry_session {
 public:
  explicit CpuSession(const ferry_engine& engine) : engine_(engine) {}

  void staging(std::int64_t batch, void** inputs, void** outputs) override {
    if (!input_.defined() || input_.size(0) < batch) {
      input_ = at::empty(engine_.input_shape(batch), at::kFloat);
      output_ = at::empty(engine_.output_shape(batch), at::kFloat);
    }
    inputs[0] = input_.data_ptr();
    outputs[0] = output_.data_ptr();
  }

  void submit(const ferry_run_args& args) override {
    if (running_) throw Failure("", "the session already has a request under way");
    if (args.flags & FERRY_RUN_RESIDENT) throw Failure("", "a CPU engine has no resident mode", "", FERRY_UNSUPPORTED);
    // The number of threads belongs to the calling thread in OpenMP; another engine may have changed it.
    if (at::get_num_threads() != engine_.options.threads) at::set_num_threads(engine_.options.threads);
    const c10::InferenceMode no_gradients;
    const auto begin = std::chrono::steady_clock::now();
    const at::Tensor input =
        at::from_blob(const_cast<void*>(args.inputs[0]), engine_.input_shape(args.batch), at::kFloat);
    const at::Tensor output = engine_.network.forward(input).contiguous();
    std::memcpy(args.outputs[0], output.const_data_ptr(), output.nbytes());
    compute_ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    running_ = true;
  }

  ferry_times wait() override {
    if (!running_) throw Failure("", "there is no request to wait for");
    running_ = false;
    return {compute_ms_, 0, compute_ms_, 0};
  }

 private:
  const ferry_engine& engine_;
  at::Tensor input_, output_;  // staging
  bool running_ = false;
  double compute_ms_ = 0;
};

}  // namespace

std::unique_ptr<ferry_session> make_cpu_session(const ferry_engine& engine) {
  return std::make_unique<CpuSession>(engine);
}

}  // namespace ferry::libtorch
