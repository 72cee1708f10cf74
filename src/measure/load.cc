// Sessions of one engine, each in its thread.
#include "ferry/load.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <limits>
#include <thread>
#include <utility>

#include "ferry/error.h"

namespace ferry {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostRequests = 1'000'000;  // of a session in one turn: bounds memory

// All bits set is NaN in every floating-point type.
void poison(std::byte* data, std::size_t size) { std::memset(data, 0xFF, size); }

std::size_t argmax(const float* scores, std::size_t count) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < count; ++i)
    if (scores[i] > scores[best]) best = i;
  return best;
}

}  // namespace

const char* name_of(LoadKind kind) noexcept { return kind == LoadKind::kThroughput ? "throughput" : "end-to-end"; }

struct Load::Impl {
  /// One session with everything that its requests need.
  struct Worker {
    Worker(const Engine& engine, const TensorView& of) : session(engine.new_session()) {
      staging = session.staging(of.shape[0]);
      in = {staging.inputs[0]};
      out = staging.outputs;
      std::memcpy(staging.inputs[0], of.data, of.size_bytes());
    }
    Session session;
    Session::Staging staging;
    std::vector<const std::byte*> in;
    std::vector<std::byte*> out;
    std::vector<std::size_t> labels;  // end to end: what the caller is after
    std::vector<RequestSpan> spans;
    std::exception_ptr failure;
  };

  Impl(const Engine& of, const TensorView& given, LoadKind what) : engine(of), kind(what), input(given) {
    const EngineInfo& info = engine.info();
    const bool top_k = info.outputs.size() == 2 && info.outputs[1].dtype == DType::kInt32;
    if (info.inputs.size() != 1 || (info.outputs.size() != 1 && !top_k) || info.inputs[0].shape.empty())
      throw Error(Stage::kMeasure, info.backend_display_name,
                  fmt::format("the engine has {} inputs and {} outputs; an image network has one input, and scores or "
                              "the best classes as output",
                              info.inputs.size(), info.outputs.size()));
    if (input.dtype != info.inputs[0].dtype) {
      converted = convert(input, info.inputs[0].dtype);
      input = converted.view();
    }
    batch = input.shape.at(0);
  }

  // The first request goes through `run`, which checks shape and type and knows the output's shape.
  void open_one() {
    auto worker = std::make_unique<Worker>(engine, input);
    if (output_shapes.empty())
      for (const Tensor& output : worker->session.run(std::vector<TensorView>{input}))
        output_shapes.push_back(output.shape());
    if (kind == LoadKind::kEndToEnd) worker->labels.resize(static_cast<std::size_t>(batch));
    for (int i = 0; i < 3; ++i) request(*worker);  // a graph is captured by the second
    workers.push_back(std::move(worker));
  }

  DType output_type(std::size_t i = 0) const { return engine.info().outputs[i].dtype; }
  TensorView output_of(const Worker& worker, std::size_t i) const {
    return {output_type(i), output_shapes[i], worker.out[i]};
  }

  void request(Worker& worker) const {
    if (kind == LoadKind::kEndToEnd) {
      const std::byte* ordinary = input.data;
      worker.in[0] = ordinary;
    }
    worker.session.submit(batch, worker.in, worker.out);
    worker.session.wait();
    if (kind == LoadKind::kEndToEnd) label(worker);
  }

  void label(Worker& worker) const {
    if (worker.out.size() > 1 || output_type() != DType::kFloat32) return;  // it gives classes already
    const auto classes = static_cast<std::size_t>(element_count(output_shapes[0]) / batch);
    const auto* scores = reinterpret_cast<const float*>(worker.out[0]);
    for (std::size_t i = 0; i < worker.labels.size(); ++i) worker.labels[i] = argmax(scores + i * classes, classes);
  }

  Engine engine;
  LoadKind kind;
  TensorView input;
  Tensor converted;
  std::int64_t batch = 0;
  std::vector<Shape> output_shapes;
  std::vector<std::unique_ptr<Worker>> workers;
};

Load::Load(const Engine& engine, const TensorView& input, LoadKind kind)
    : impl_(std::make_unique<Impl>(engine, input, kind)) {}
Load::Load(Load&&) noexcept = default;
Load& Load::operator=(Load&&) noexcept = default;
Load::~Load() = default;

int Load::sessions() const noexcept { return static_cast<int>(impl_->workers.size()); }
std::int64_t Load::batch() const noexcept { return impl_->batch; }

void Load::set_sessions(int count) {
  if (count < 1) throw Error(Stage::kUsage, "sessions", "there must be at least one session");
  const std::size_t before = impl_->workers.size();
  try {
    while (sessions() < count) impl_->open_one();
  } catch (...) {
    impl_->workers.resize(before);
    throw;
  }
  impl_->workers.resize(static_cast<std::size_t>(count));
}

LoadTurn Load::turn(double seconds, int least) {
  std::atomic<bool> stop{false}, go{false};
  std::atomic<std::size_t> content{0};  // sessions that have done their share: all go on until the last one has
  const std::size_t all = impl_->workers.size();
  const Clock::time_point zero = Clock::now();
  const auto now_ms = [zero] { return std::chrono::duration<double, std::milli>(Clock::now() - zero).count(); };
  const auto work = [&](Impl::Worker& worker) {
    while (!go.load(std::memory_order_acquire)) std::this_thread::yield();
    const double end = now_ms() + 1000 * seconds;
    bool counted = false;
    try {
      while (!stop.load(std::memory_order_relaxed) && worker.spans.size() < worker.spans.capacity()) {
        const double begin = now_ms();
        impl_->request(worker);
        worker.spans.push_back({begin, now_ms()});
        const bool done = worker.spans.back().end_ms >= end && worker.spans.size() >= static_cast<std::size_t>(least);
        if (done && !std::exchange(counted, true)) content.fetch_add(1);
        if (content.load() == all) break;
      }
    } catch (...) {
      worker.failure = std::current_exception();
      stop.store(true);
    }
  };
  // No engine answers within 20 us for long; if one does, its turn ends early.
  const auto most =
      std::min(kMostRequests, static_cast<std::size_t>(seconds * 50'000) + static_cast<std::size_t>(least) + 20'000);
  std::vector<std::thread> threads;
  for (const auto& worker : impl_->workers) {
    worker->spans.clear();
    worker->spans.reserve(most);
    worker->failure = nullptr;
    for (std::size_t i = 0; i < worker->out.size(); ++i)
      poison(worker->out[i], impl_->output_of(*worker, i).size_bytes());
    threads.emplace_back([&work, of = worker.get()] { work(*of); });
  }
  go.store(true, std::memory_order_release);
  for (std::thread& thread : threads) thread.join();
  LoadTurn turn;
  for (const auto& worker : impl_->workers) {
    if (worker->failure) std::rethrow_exception(worker->failure);
    turn.push_back(worker->spans);
  }
  return turn;
}

std::vector<double> Load::device_ms(int runs) {
  std::vector<double> times;
  if (!impl_->engine.info().resident || impl_->workers.empty()) return times;
  Impl::Worker& worker = *impl_->workers.front();
  for (int i = 0; i < runs; ++i) {
    RunTimes one{};
    worker.session.submit(impl_->batch, worker.in, worker.out, true);
    worker.session.wait(&one);
    times.push_back(one.compute_ms);
  }
  return times;
}

std::vector<std::vector<Tensor>> Load::outputs() const {
  std::vector<std::vector<Tensor>> all;
  for (const auto& worker : impl_->workers) {
    std::vector<Tensor>& outputs = all.emplace_back();
    for (std::size_t i = 0; i < worker->out.size(); ++i) {
      const TensorView view = impl_->output_of(*worker, i);
      outputs.push_back(i == 0 ? convert(view, DType::kFloat32) : Tensor::copy_of(view));
    }
  }
  return all;
}

}  // namespace ferry
