// ferry's latency engine on a real GPU: every layer of several networks and batches against plain loops on the CPU, the
// watchdog's silence over many runs, sessions in threads. Needs nothing but the driver.
//
//   FERRY_SOAK_RUNS=100000   runs of the soak test (default 2000)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "cuda/engine.h"
#include "cuda/executor.h"
#include "cuda/pack.h"
#include "cuda_support/stream.h"
#include "gpu/latency_emulator.h"
#include "gpu/latency_plan.h"
#include "gpu/resnet_onnx.h"
#include "nvinfer/failure.h"
#include "nvinfer/session.h"

namespace ferry::latency {
namespace {

using ferry::testing::ResNetSpec;
using Json = nlohmann::json;

std::vector<float> normal(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

template <typename Value, typename Read>
double relative_error(const Value* got, const Value* want, std::size_t count, const Read& read) {
  double wrong = 0, all = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double w = read(want[i]), d = read(got[i]) - w;
    wrong += d * d;
    all += w * w;
  }
  return all > 0 ? std::sqrt(wrong / all) : wrong;
}

class LatencyGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    const Json here = Json::parse(nvinfer::supported_json());
    if (!here["usable"].get<bool>()) GTEST_SKIP() << here["reason"].get<std::string>();
  }
};

/// Memory of both sides for one batch, and a launch that stops after any phase.
class Bench {
 public:
  Bench(const std::string& plan_bytes, std::int64_t batch)
      : engine_(open_plan(plan_bytes)),
        current_(engine_->context()),
        plan_(read_plan(plan_bytes)),
        program_(engine_->program_for(batch)),
        device_arena_(engine_->arena_bytes()),
        arena_(program_.arena_bytes),
        input_(normal(engine_->inputs()[0].row_bytes / 4 * static_cast<std::size_t>(batch), 5)),
        output_(engine_->outputs()[0].row_bytes / 4 * static_cast<std::size_t>(batch)),
        device_input_(input_.size() * 4),
        device_output_(output_.size() * 4),
        executor_(*engine_, device_arena_.data()) {
    cuda::copy_to_device(device_input_.data(), input_.data(), input_.size() * 4, stream_.handle());
    cuda::fill_bytes(device_arena_.data(), 0xFF, device_arena_.size(), stream_.handle());
    executor_.bind(0, batch, {device_input_.data()}, {device_output_.data()}, stream_.handle());
    emulated_ = engine_->net_for(batch);
    emulated_.phases = program_.phases.data();
    emulated_.convs = program_.convs.data();
    emulated_.weights = plan_.weights.data();
    emulated_.arena = arena_.data();
    emulated_.input = input_.data();
    emulated_.output = output_.data();
  }

  std::size_t phases() const { return program_.phases.size(); }
  /// What a failure says about a phase.
  std::string describe(std::size_t p) const {
    const Phase& ph = program_.phases[p];
    std::string text = "phase " + std::to_string(p) + " of kind " + std::to_string(ph.kind);
    for (int i = 0; i < ph.convs; ++i) {
      const ConvDesc& c = program_.convs[static_cast<std::size_t>(ph.conv[i])];
      text += "; convolution of kind " + std::to_string(c.kind) + ", stride " + std::to_string(c.stride);
      for (const int value :
           {c.C, c.N, c.M, 1 << c.wm, 1 << c.wn, 1 << c.wk, int{c.cfg}, int{c.passes}, c.rows, c.width})
        text += " " + std::to_string(value);
    }
    return text + ", batch " + std::to_string(ph.batch);
  }

  /// How wrong the phase's results are, from the very inputs that the GPU had: the relative error; of int8 the share
  /// that is one step off, or 1 if any is further off.
  double check(std::size_t p) {
    executor_.net().count = static_cast<int>(p) + 1;
    executor_.enqueue(stream_.handle());
    stream_.synchronize();
    executor_.finish();
    // A phase writes nothing that it reads, so its inputs are still there.
    cuda::copy_to_host(arena_.data(), activations(), arena_.size(), stream_.handle());
    stream_.synchronize();
    emulate(emulated_, program_.phases[p], std::max(1U, std::thread::hardware_concurrency()));
    const Phase& ph = program_.phases[p];
    const auto images = static_cast<std::size_t>(ph.batch);
    double worst = 0;
    for (int i = 0; i < ph.convs; ++i) {
      const ConvDesc& c = program_.convs[static_cast<std::size_t>(ph.conv[i])];
      worst = std::max(worst, c.flags & kInt8Out ? int8s(c) : halves(c.out, static_cast<std::size_t>(c.M * c.N)));
    }
    if (ph.kind == kPhaseMaxPool) {
      const std::size_t pixels = images * static_cast<std::size_t>((ph.H + 1) / 2 * ((ph.W + 1) / 2));
      worst = ph.int8 != 0 ? int8s(ph.out, pixels, ph.C * 2, program_.convs[0].N)  // the first convolution's channels
                           : halves(ph.out, pixels * static_cast<std::size_t>(ph.C));
    }
    if (ph.kind == kPhaseAvgPool) {
      const auto got = fetch<float>(activations() + ph.out, images * static_cast<std::size_t>(ph.C));
      worst = relative_error(got.data(), reinterpret_cast<const float*>(arena_.data() + ph.out), got.size(),
                             [](float v) { return v; });
    }
    if (ph.kind == kPhaseFc) {
      const auto got = fetch<float>(device_output_.data(), output_.size());
      worst = relative_error(got.data(), output_.data(), got.size(), [](float v) { return v; });
    }
    return worst;
  }

 private:
  template <typename Value>
  std::vector<Value> fetch(const void* from, std::size_t count) const {
    std::vector<Value> values(count);
    cuda::copy_to_host(values.data(), from, count * sizeof(Value), stream_.handle());
    stream_.synchronize();
    return values;
  }
  const char* activations() const { return static_cast<const char*>(device_arena_.data()) + kCounterBytes; }
  double halves(std::uint32_t offset, std::size_t count) const {
    const auto got = fetch<std::uint16_t>(activations() + offset, count);
    const auto* want = reinterpret_cast<const std::uint16_t*>(arena_.data() + offset);
    return relative_error(got.data(), want, count, [](std::uint16_t v) { return from_half(v); });
  }

  double int8s(const ConvDesc& c) const { return int8s(c.out, static_cast<std::size_t>(c.M), out_pitch(c), c.N); }
  /// `channels` of `pixels` that lie `pitch` apart; what is between them may be anything.
  double int8s(std::uint32_t offset, std::size_t pixels, int pitch, int channels) const {
    const auto step = static_cast<std::size_t>(pitch), used = static_cast<std::size_t>(channels);
    const auto all = fetch<signed char>(activations() + offset, pixels * step);
    std::size_t off = 0;
    for (std::size_t i = 0; i < pixels; ++i) {
      const auto* want = reinterpret_cast<const signed char*>(arena_.data() + offset + i * step);
      for (std::size_t c = 0; c < used; ++c) {
        const int steps = std::abs(all[i * step + c] - want[c]);
        if (steps > 1) return 1;
        off += static_cast<std::size_t>(steps);
      }
    }
    return static_cast<double>(off) / static_cast<double>(pixels * used);
  }

  std::shared_ptr<Engine> engine_;
  cuda::Current current_;
  Plan plan_;
  Program program_;
  cuda::Stream stream_;
  cuda::DeviceBuffer device_arena_;
  std::vector<char> arena_;
  std::vector<float> input_, output_;
  cuda::DeviceBuffer device_input_, device_output_;
  Executor executor_;
  Net emulated_{};
};

void check_layers_of(const ResNetSpec& spec, int batch, unsigned seed) {
  const BuiltPlan built = build_with_report(ferry::testing::resnet_onnx(spec, seed), batch, batch);
  std::printf("  measured cycles: %s\n", Json::parse(built.report)["measured_tiles"].dump().c_str());
  Bench bench(built.plan, batch);
  double worst = 0;
  for (std::size_t p = 0; p < bench.phases(); ++p) {
    const double error = bench.check(p);
    ASSERT_LE(error, 5e-3) << bench.describe(p);
    worst = std::max(worst, error);
  }
  std::printf("  %zu phases at batch %d: worst error of a phase %.2g\n", bench.phases(), batch, worst);
}

TEST_F(LatencyGpu, EveryLayerOfResNet101) {
  for (const int batch : {1, 2, 8}) check_layers_of({}, batch, 7);
}

TEST_F(LatencyGpu, EveryLayerOfBasicBlocks) {
  check_layers_of({{2, 2, 2, 2}, {64, 128, 256, 512}, 64, 1000, 224, 224, false}, 1, 8);
}

TEST_F(LatencyGpu, EveryLayerOfOddNetworks) {
  // Channels that are no power of two, few and many classes, sizes that do not divide by the tiles.
  check_layers_of({{1, 2, 1, 1}, {16, 16, 24, 32}, 16, 24, 64, 64}, 5, 9);
  check_layers_of({{1, 1, 2, 1}, {48, 40, 96, 128}, 24, 7, 90, 70}, 1, 10);
  check_layers_of({{1, 1, 1, 1}, {64, 100, 200, 300}, 32, 1537, 96, 160}, 3, 11);
  // Rows of one pixel.
  check_layers_of({{1, 1, 1, 1}, {32, 64, 128, 256}, 64, 10, 32, 32, false}, 7, 12);
  check_layers_of({{1, 1, 1, 1}, {16, 16, 24, 32}, 16, 24, 32, 32}, 8, 13);
  check_layers_of({{1, 1, 1, 1}, {16, 16, 24, 32}, 16, 24, 16, 16}, 1, 14);
}

// Small enough for compute-sanitizer. Where clusters pay the plan has chains; where there are none, its layers alone.
TEST_F(LatencyGpu, EveryLayerOfChains) {
  for (const bool int8 : {false, true})
    check_layers_of({{1, 1, 4, 1}, {16, 16, 256, 16}, 16, 24, 64, 64, true, int8}, 1, 15);
}

// Sums of int8 products are exact, so a value differs only where the rounding of its factor moves it across a step.
TEST_F(LatencyGpu, EveryLayerInInt8) {
  ResNetSpec spec;
  spec.int8 = true;
  for (const int batch : {1, 2, 8}) check_layers_of(spec, batch, 7);
  for (const ResNetSpec& odd : {ResNetSpec{{2, 2, 2, 2}, {64, 128, 256, 512}, 64, 1000, 224, 224, false, true},
                                ResNetSpec{{1, 2, 1, 1}, {16, 16, 24, 32}, 16, 24, 64, 64, true, true},
                                ResNetSpec{{1, 1, 2, 1}, {48, 40, 96, 128}, 24, 7, 96, 64, true, true},
                                ResNetSpec{{1, 1, 1, 1}, {32, 64, 128, 256}, 64, 10, 32, 32, false, true},
                                ResNetSpec{{1, 1, 1, 1}, {16, 16, 24, 32}, 16, 24, 32, 32, false, true}})
    for (const int batch : {1, 7}) check_layers_of(odd, batch, 8);
}

/// Runs through a session, as the C interface does.
struct Runner {
  explicit Runner(std::shared_ptr<Engine> opened, bool quick = true)
      : engine(std::move(opened)),
        current(engine->context()),
        session(*engine, options_of(*engine, quick), [](int, const std::string& line) { ADD_FAILURE() << line; }) {}
  static nvinfer::OpenOptions options_of(const Engine& engine, bool quick) {
    nvinfer::OpenOptions options = engine.options();
    options.quick = options.quick && quick;
    return options;
  }

  std::vector<float> run(std::int64_t batch, const std::vector<float>& input, ferry_times* times = nullptr) {
    std::vector<float> output(engine->outputs()[0].row_bytes / 4 * static_cast<std::size_t>(batch), NAN);
    const void* in[] = {input.data()};
    void* out[] = {output.data()};
    ferry_run_args args{};
    args.struct_size = sizeof args;
    args.batch = batch;
    args.inputs = in;
    args.outputs = out;
    session.submit(args);
    session.wait(times);
    return output;
  }

  std::shared_ptr<Engine> engine;
  cuda::Current current;
  nvinfer::Session session;
};

TEST_F(LatencyGpu, SoakGivesTheSameBitsEveryTime) {
  const char* asked = std::getenv("FERRY_SOAK_RUNS");
  const int runs = asked != nullptr ? std::atoi(asked) : 2000;
  const std::string plan = build_plan(ferry::testing::resnet_onnx({}, 7), 1, 1);
  Runner runner(open_plan(plan));
  const auto input = normal(runner.engine->inputs()[0].row_bytes / 4, 3);
  const auto first = runner.run(1, input);
  std::vector<double> milliseconds;
  for (int i = 0; i < runs; ++i) {
    ferry_times times{};
    const auto again = runner.run(1, input, &times);
    ASSERT_EQ(std::memcmp(first.data(), again.data(), first.size() * 4), 0) << "run " << i;
    milliseconds.push_back(times.compute_ms);
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  const auto at = [&](double part) { return milliseconds[static_cast<std::size_t>(part * (runs - 1))]; };
  std::printf("  ResNet-101, batch 1, %d runs: median %.4f ms, p1 %.4f, p99 %.4f, most %.4f (on the device)\n", runs,
              at(0.5), at(0.01), at(0.99), at(1));
}

TEST_F(LatencyGpu, SessionsInThreadsDoNotWaitForEachOtherForEver) {
  const std::string plan = build_plan(ferry::testing::resnet_onnx({{1, 1, 1, 1}}, 7), 1, 4);
  const auto engine = open_plan(plan);
  const auto input = normal(engine->inputs()[0].row_bytes, 3);  // four images
  const auto expected = Runner(engine).run(4, input);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      Runner runner(engine);
      for (int i = 0; i < 200; ++i) {
        const auto output = runner.run(4, input);
        EXPECT_EQ(std::memcmp(expected.data(), output.data(), output.size() * 4), 0);
      }
    });
  for (std::thread& thread : threads) thread.join();
}

void time_every_batch(const ResNetSpec& spec, int level) {
  const std::string plan = build_plan(ferry::testing::resnet_onnx(spec, 7), 1, kMaxImages, level);
  Runner runner(open_plan(plan));
  for (std::int64_t batch = 1; batch <= kMaxImages; ++batch) {
    const auto input = normal(runner.engine->inputs()[0].row_bytes / 4 * static_cast<std::size_t>(batch), 3);
    std::vector<double> milliseconds;
    for (int i = 0; i < 300; ++i) {
      ferry_times times{};
      const auto output = runner.run(batch, input, &times);
      ASSERT_TRUE(std::isfinite(output[0]));
      if (i >= 50) milliseconds.push_back(times.compute_ms);
    }
    std::nth_element(milliseconds.begin(), milliseconds.begin() + 125, milliseconds.end());
    std::printf("  batch %d, %s, tiles %s: %.4f ms on the device\n", static_cast<int>(batch),
                spec.int8 ? "INT8" : "FP16",
                level > 1   ? "and chains measured"
                : level > 0 ? "measured"
                            : "by the model",
                milliseconds[125]);
  }
}

TEST_F(LatencyGpu, TilesAreMeasured) {
  const std::string onnx = ferry::testing::resnet_onnx({{1, 1, 1, 1}, {32, 64, 96, 128}, 64, 24, 64, 64}, 7);
  const BuiltPlan measured = build_with_report(onnx, 1, 2), by_model = build_with_report(onnx, 1, 2, 0);
  const Json report = Json::parse(measured.report)["measured_tiles"];
  ASSERT_EQ(report.size(), 2u) << report;
  for (const Json& batch : report) {
    EXPECT_GT(batch["tuned_cycles"].get<double>(), 0);
    EXPECT_LE(batch["tuned_cycles"].get<double>(), batch["model_cycles"].get<double>());
  }
  EXPECT_TRUE(Json::parse(by_model.report)["measured_tiles"].empty());
  const Plan plan = read_plan(measured.plan);
  const Choice model = choose_tiles(plan.layers, 1, {plan.multiprocessors, plan.shared_bytes});
  std::printf("  measured cycles at batch 1: %.0f, of the model's tiles: %.0f\n",
              report["1"]["tuned_cycles"].get<double>(), report["1"]["model_cycles"].get<double>());
  // Whatever was chosen computes the same. Not as quick requests: the emulated GPU does not wait for their input.
  const auto input = normal(3 * 64 * 64, 3);
  const auto output = Runner(open_plan(measured.plan), false).run(1, input),
             expected = Runner(open_plan(by_model.plan), false).run(1, input);
  EXPECT_LE(relative_error(output.data(), expected.data(), output.size(), [](float v) { return v; }), 5e-3);
  const bool emulated = std::getenv("FAKE_CUDA_KERNELS") != nullptr;
  EXPECT_TRUE(!emulated || plan.batches.front().tiles != model.tiles) << "the emulated GPU likes other tiles best";
}

TEST_F(LatencyGpu, TimesEveryBatchOfResNet101) {
  for (const bool int8 : {false, true}) {
    ResNetSpec spec;
    spec.int8 = int8;
    for (const int level : {0, 1, 2}) time_every_batch(spec, level);
  }
}

}  // namespace
}  // namespace ferry::latency
