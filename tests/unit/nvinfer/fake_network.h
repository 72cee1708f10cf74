// A network that doubles its input, on the fake driver: what a session needs of an engine, with nothing of an SDK.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fake_driver.h"
#include "nvinfer/failure.h"
#include "nvinfer/network.h"

namespace ferry::testing {

class DoublingExecutor final : public nvinfer::Executor {
 public:
  struct Switches {
    bool capturable = true;
    bool breaks_capture = false;  // does something that a capture does not allow
    bool fails = false;
    int binds = 0, enqueues = 0;
  };
  explicit DoublingExecutor(Switches& switches) : switches_(switches) {}

  void bind(int profile, std::int64_t batch, const std::vector<void*>& inputs, const std::vector<void*>& outputs,
            CUstream_st*) override {
    ++switches_.binds;
    last_profile = profile;
    in_ = static_cast<const float*>(inputs.at(0));
    out_ = static_cast<float*>(outputs.at(0));
    batch_ = batch;
  }
  void enqueue(CUstream_st* stream) override {
    ++switches_.enqueues;
    if (switches_.fails) throw nvinfer::Failure("node", "the fake network fails", "");
    const auto& fake = FakeDriver::get();
    if (switches_.breaks_capture) fake.forbidden_in_capture(stream);
    // A kernel's arguments are copied when it is launched or captured, so this does the same (and leaks, as a test
    // may).
    auto* arguments = kept_.emplace_back(std::make_unique<Arguments>(Arguments{in_, out_, batch_})).get();
    fake.enqueue(stream, &double_all, arguments);
  }
  bool capturable(CUstream_st*) const override { return switches_.capturable; }

  std::vector<std::vector<nvinfer::LayerSample>> time_layers(CUstream_st* stream, int runs) override {
    std::vector<std::vector<nvinfer::LayerSample>> all;
    for (int i = 0; i < runs; ++i) {
      enqueue(stream);
      all.push_back({{"double [profile 0]", 2.0 + i}});
    }
    return all;
  }
  std::string layers_json() const override {
    return R"({"Layers":[{"Name":"double [profile 0]","LayerType":"Fake","TacticName":"twice",
      "Inputs":[{"Dimensions":[-1,4],"Format/Datatype":"Float"}],
      "Outputs":[{"Dimensions":[-1,4],"Format/Datatype":"Float"}]}]})";
  }
  static constexpr std::size_t kRow = 4;
  inline static int last_profile = -1;

 private:
  struct Arguments {
    const float* in;
    float* out;
    std::int64_t batch;
  };
  static void double_all(void* user) {
    const auto& [in, out, batch] = *static_cast<Arguments*>(user);
    for (std::size_t i = 0; i < kRow * static_cast<std::size_t>(batch); ++i) out[i] = 2 * in[i];
  }
  Switches& switches_;
  const float* in_ = nullptr;
  float* out_ = nullptr;
  std::int64_t batch_ = 0;
  std::vector<std::unique_ptr<Arguments>> kept_;
};

class DoublingNetwork final : public nvinfer::Network {
 public:
  explicit DoublingNetwork(std::vector<nvinfer::Profile> profiles = {{1, 4, 32}}) : profiles_(std::move(profiles)) {}
  const std::vector<nvinfer::Port>& inputs() const override { return inputs_; }
  const std::vector<nvinfer::Port>& outputs() const override { return outputs_; }
  const std::vector<nvinfer::Profile>& profiles() const override { return profiles_; }
  std::size_t arena_bytes() const override { return 1024; }
  std::unique_ptr<nvinfer::Executor> make_executor(void* arena, std::size_t bytes) override {
    if (arena == nullptr || bytes != 1024) throw nvinfer::Failure("", "no activation memory was given", "");
    ++executors;
    return std::make_unique<DoublingExecutor>(switches);
  }

  DoublingExecutor::Switches switches;
  int executors = 0;

 private:
  std::vector<nvinfer::Port> inputs_{{"input", 1, {-1, 4}, 16}}, outputs_{{"output", 1, {-1, 4}, 16}};
  std::vector<nvinfer::Profile> profiles_;
};

}  // namespace ferry::testing
